//! [`Restore`]: puts parameters back after a check.

use std::sync::Arc;

use ndarray::ArrayD;

use crate::param::Param;
use crate::scalar::Scalar;

/// Puts the values and gradients of parameters back when it is dropped, also when the checked code panics.
pub(super) struct Restore<T: Scalar>(Vec<Before<T>>);

struct Before<T> {
    param: Param<T>,
    value: Arc<ArrayD<T>>,
    grad: Option<Arc<ArrayD<T>>>,
}

impl<T: Scalar> Restore<T> {
    pub(super) fn new(params: &[Param<T>]) -> Self {
        let before = |param: &Param<T>| Before { param: param.clone(), value: param.value(), grad: param.grad() };
        Self(params.iter().map(before).collect())
    }
}

impl<T: Scalar> Drop for Restore<T> {
    fn drop(&mut self) {
        for Before { param, value, grad } in &self.0 {
            if !Arc::ptr_eq(&param.value(), value) {
                param.set_value(ArrayD::clone(value));
            }
            param.zero_grad();
            if let Some(grad) = grad {
                param.accumulate_grad(grad);
            }
        }
    }
}
