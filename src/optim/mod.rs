//! Optimizers: they turn gradients into steps.
//!
//! An optimizer holds handles to the parameters. The gradients may come from either path, the hand-derived layers or
//! the tape. Formulas, settings and defaults are those of `torch.optim`.
//!
//! | optimizer | a step follows |
//! |---|---|
//! | [`Sgd`] | the gradient, or its velocity (momentum, Nesterov) |
//! | [`Adam`], [`AdamW`] | the gradient's average, divided by the root of the average of its square |
//! | [`RmsProp`] | the gradient, divided by the root of the average of its square |
//! | [`Adagrad`] | the gradient, divided by the root of the sum of its squares |
//! | [`Adadelta`] | the gradient, scaled to the size of the earlier steps |
//! | [`NAdam`] | as Adam, with Nesterov's momentum |
//! | [`RAdam`] | as Adam, without the division while few squares are known |
//! | [`Lbfgs`] | a quasi-Newton direction, with a line search: for a loss without random choices |
//!
//! [`Groups`] makes one optimizer of several, with settings of their own. A [`Schedule`] changes the learning rate from
//! step to step, and [`ReduceOnPlateau`] when a loss no longer falls. [`clip_grad_norm`] and [`clip_grad_value`] cut
//! gradients before a step. [`Stateful`] reads and loads what an optimizer remembers.
//!
//! Every optimizer skips a parameter without a gradient: its value, its state and its number of steps do not change. A
//! gradient of 0 is a gradient: the averages move on, and a velocity carries the parameter further.

mod adadelta;
mod adagrad;
mod adam;
mod clip;
mod groups;
mod lbfgs;
mod line_search;
mod nadam;
mod optimizer;
mod param_group;
mod plateau;
mod radam;
mod rms_prop;
mod schedule;
mod sgd;
mod state;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamRule, AdamW, Coupled, Decay, Decoupled};
pub use clip::{clip_grad_norm, clip_grad_value};
pub use groups::Groups;
pub use lbfgs::Lbfgs;
pub use nadam::NAdam;
pub use optimizer::Optimizer;
pub use plateau::ReduceOnPlateau;
pub use radam::RAdam;
pub use rms_prop::RmsProp;
pub use schedule::Schedule;
pub use sgd::Sgd;
pub use state::{StateEntry, StateValue, Stateful};
