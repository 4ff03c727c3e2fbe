//! hello: `square(x) = x²`, and `double`, its derivative.

use ndarray::arr0;
use serde_json::Value;
use tapegrad::{Tape, transform};

use crate::protocol::{Call, Outcome, measure};

pub fn square(call: &mut Call) -> Outcome {
    let x = call.input.bare_number()?;
    measure(call.input, || Ok(Tape::new().leaf(x).square().item()), Value::from)
}

pub fn double(call: &mut Call) -> Outcome {
    let x = arr0(call.input.bare_number()?);
    measure(call.input, || Ok(transform::value_and_grad(|x| x.square(), &x).1.into_scalar()), Value::from)
}
