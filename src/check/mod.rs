//! Checks of derivatives, for tests and for finding out why a network does not learn.
//!
//! | function | checks | against |
//! |---|---|---|
//! | [`gradcheck`] | any function of [`Var`](crate::Var)s: closures, custom operations, recorded modules and losses | finite differences of its values, and the dot test |
//! | [`parity`] | a hand-derived [`Module`](crate::nn::Module) and [`Loss`](crate::nn::Loss) | the tape, layer by layer |
//! | [`test_jacobian`], [`test_jacobian_parameters`], [`test_jacobian_update_parameters`] | a hand-derived [`Module`](crate::nn::Module) | finite differences, as in Lua torch |
//!
//! A check draws its random numbers from a seed, so it gives the same answer each time.
//!
//! # Example
//!
//! The derivatives of a network's loss by the input and by the parameters:
//!
//! ```
//! use ndarray::array;
//! use tapegrad::check::{Options, gradcheck, parity};
//! use tapegrad::nn::{Linear, Loss, Module, Mse, Sequential, Tanh};
//! use tapegrad::Param;
//!
//! let first = Linear::from_params(Param::new(array![[0.5, -0.3], [0.1, 0.8]]), None);
//! let last = Linear::from_params(Param::new(array![[1.0], [-2.0]]), Some(Param::new(array![0.1])));
//! let mut net = Sequential::new().push(first).push(Tanh::new()).push(last);
//! let (x, y) = (array![[1.0, 2.0], [-0.5, 0.3]], array![[1.0], [0.0]]);
//! let mut loss = Mse::new();
//!
//! let options = Options::new().with_parameters(net.parameters());
//! let report = gradcheck(|v| loss.record(&y, net.record(v[0].tape(), v[0])), &[x.clone().into_dyn()], &options)?;
//! assert_eq!(report.elements(), 4 + 4 + 2 + 1); // x, two weights, one bias
//!
//! parity(&mut net, &mut loss, (&x, &y))?; // and those derived by hand
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod differences;
mod gradcheck;
mod jacobian;
mod names;
mod parity;
mod report;
mod restore;
mod slope;

pub use gradcheck::gradcheck;
pub use jacobian::{test_jacobian, test_jacobian_parameters, test_jacobian_update_parameters};
pub use parity::{Difference, Parity, parity, parity_within};
pub use report::{Failure, Options, Order, Report, Verdict};
