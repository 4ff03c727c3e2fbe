//! particle: a charged particle falls between two charges. How low is the first charge to be, so that the particle meets the
//! ground at `x = 0`?
//!
//! The acceleration is a derivative, and the descent needs the derivative of the whole path: `rf` is reverse mode for the
//! path, forward mode for the acceleration.

use ndarray::arr0;
use serde_json::Value;
use tapegrad::{Tape, Var};

use crate::descent::{Mode, descend};
use crate::protocol::{Call, Outcome, measure};

const DT: f64 = 0.1;

/// Returns the square of the place where the particle meets the ground.
fn miss(w: Var<'_, f64>, mode: Mode) -> Var<'_, f64> {
    let number = |x: f64| w.tape().constant(x);
    let charges = [[number(10.0), 10.0 - w], [number(10.0), number(0.0)]];
    let (mut x, mut v) = ([number(0.0), number(8.0)], [number(0.75), number(0.0)]);
    loop {
        let [a, b] = charges.map(|c| ((x[0] - c[0]).square() + (x[1] - c[1]).square()).rsqrt());
        let slopes = mode.slopes(a + b, x);
        x = [0, 1].map(|k| x[k] + v[k] * DT);
        if x[1].decide(|y| y <= 0.0) {
            return (x[0] - x[1] / v[1] * v[0]).square();
        }
        v = [0, 1].map(|k| v[k] - slopes[k] * DT);
    }
}

fn best(call: &mut Call, outer: Mode, inner: Mode) -> Outcome {
    let (input, start) = (call.input, call.input.number("w")?);
    let mut path = call.function(&[], |v| {
        let miss = miss(v[0], inner);
        let [slope] = outer.slopes(miss, [v[0]]);
        vec![miss, slope]
    });
    path.prepare(&[&arr0(start).into_dyn()])?;
    let run = || {
        let tape = Tape::new();
        let [w] = descend([tape.constant(start)], |[w]| {
            let [miss, slope] = path.run(&[&w.value().to_owned()], |o| [0, 1].map(|k| tape.constant(o.item(k))))?;
            Ok((miss, [slope]))
        })?;
        Ok(w.item())
    };
    measure(input, run, Value::from)
}

pub fn rr(call: &mut Call) -> Outcome {
    best(call, Mode::Reverse, Mode::Reverse)
}

pub fn rf(call: &mut Call) -> Outcome {
    best(call, Mode::Reverse, Mode::Forward)
}

pub fn fr(call: &mut Call) -> Outcome {
    best(call, Mode::Forward, Mode::Reverse)
}

pub fn ff(call: &mut Call) -> Outcome {
    best(call, Mode::Forward, Mode::Forward)
}
