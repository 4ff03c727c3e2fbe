//! Checks of derivatives, for tests and for the hour when a network does not learn.
//!
//! | function | checks | against |
//! |---|---|---|
//! | [`gradcheck`] | any function of [`Var`](crate::Var)s: closures, custom operations, recorded modules and losses | differences of its values, and the dot test |
//! | [`parity`] | a hand-derived [`Module`](crate::nn::Module) and [`Loss`](crate::nn::Loss) | the tape, layer by layer |
//! | [`test_jacobian`], [`test_jacobian_parameters`], [`test_jacobian_update_parameters`] | a hand-derived [`Module`](crate::nn::Module) | differences, as in Lua torch |
//!
//! A check draws its numbers from a seed: it gives the same answer each time.
//!
//! # Example
//!
//! A network and its loss, by the input and by the weights:
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
//! assert_eq!(report.elements(), 4 + 4 + 2 + 1); // x, and the weights of both layers
//!
//! parity(&mut net, &mut loss, (&x, &y))?; // and by hand
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod gradcheck;
mod jacobian;
mod parity;
mod restore;
mod slope;

pub use gradcheck::{Failure, Options, Order, Report, Verdict, gradcheck};
pub use jacobian::{test_jacobian, test_jacobian_parameters, test_jacobian_update_parameters};
pub use parity::{Difference, Parity, parity, parity_within};

use ndarray::{ArrayD, Dimension};

/// Returns the index of an array's element, by its number in row-major order.
fn index_of<T>(array: &ArrayD<T>, number: usize) -> Vec<usize> {
    let element = array.indexed_iter().nth(number);
    element.map(|(index, _)| index.slice().to_vec()).unwrap_or_default()
}
