//! saddle: the `x` whose greatest value over all `y` is least, for `f(x, y) = |x|² - |y|²`.
//!
//! The descent in `x` differentiates through the descent in `y`: `rf` is reverse mode for `x`, forward mode for `y`.

use ndarray::{ArrayD, arr0};
use serde_json::json;
use tapegrad::{Tape, Var};

use crate::descent::{Mode, descend};
use crate::protocol::{Call, Outcome, measure};

type Pair<'t> = [Var<'t, f64>; 2];

fn f<'t>(x: Pair<'t>, y: Pair<'t>) -> Var<'t, f64> {
    x[0].square() + x[1].square() - (y[0].square() + y[1].square())
}

/// Returns the `y` of the greatest value.
fn greatest<'t>(x: Pair<'t>, start: Pair<'t>, mode: Mode) -> Pair<'t> {
    let downwards = |y: Pair<'t>| {
        let value = -f(x, y);
        Ok((value, mode.slopes(value, y)))
    };
    descend(start, downwards).expect("f itself does not fail")
}

fn best(call: &mut Call, outer: Mode, inner: Mode) -> Outcome {
    let (input, start) = (call.input, call.input.shaped("start", &[2])?);
    let number = |x: f64| -> ArrayD<f64> { arr0(x).into_dyn() };
    let start = [number(start[0]), number(start[1])];
    // The greatest value at x, its slopes in x, and the y where it is.
    let mut ridge = call.function(&[], |v| {
        let x = [v[0], v[1]];
        let y = greatest(x, [v[2], v[3]], inner);
        let value = f(x, y);
        [[value].as_slice(), &outer.slopes(value, x), &y].concat()
    });
    let [s0, s1] = start.each_ref();
    ridge.prepare(&[s0, s1, s0, s1])?;
    let run = || {
        let tape = Tape::new();
        let mut at = |x: Pair<'_>| {
            let [x0, x1] = x.map(|x| x.value().to_owned());
            ridge.run(&[&x0, &x1, s0, s1], |o| [0, 1, 2, 3, 4].map(|k| tape.constant(o.item(k))))
        };
        let x = descend(start.each_ref().map(|x| tape.constant(x)), |x| {
            let [value, slope0, slope1, ..] = at(x)?;
            Ok((value, [slope0, slope1]))
        })?;
        let [_, _, _, y0, y1] = at(x)?;
        Ok([x[0], x[1], y0, y1].map(|number| number.item()))
    };
    measure(input, run, |saddle| json!(saddle))
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
