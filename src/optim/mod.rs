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
//!
//! A [`Schedule`] changes the learning rate from step to step.
//!
//! Every optimizer skips a parameter without a gradient: its value, its state and its number of steps do not change. A
//! gradient of 0 is a gradient: the averages move on, and a velocity carries the parameter further.

mod adagrad;
mod adam;
mod optimizer;
mod param_group;
mod rms_prop;
mod schedule;
mod sgd;

pub use adagrad::Adagrad;
pub use adam::{Adam, AdamRule, AdamW, Coupled, Decay, Decoupled};
pub use optimizer::Optimizer;
pub use rms_prop::RmsProp;
pub use schedule::Schedule;
pub use sgd::Sgd;
