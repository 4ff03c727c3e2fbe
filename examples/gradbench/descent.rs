//! The descent of particle and saddle, and the two kinds of slopes.
//!
//! Points are arrays of recorded numbers. So a whole descent is elementwise operations of one size, and a program runs them
//! as one group.

use std::array::from_fn;

use tapegrad::Var;

use crate::protocol::Outcome;

/// How slopes are computed.
#[derive(Clone, Copy)]
pub enum Mode {
    Reverse,
    Forward,
}

impl Mode {
    /// Returns the derivative of a number by each of some numbers.
    pub fn slopes<'t, const N: usize>(self, y: Var<'t, f64>, x: [Var<'t, f64>; N]) -> [Var<'t, f64>; N] {
        match self {
            Self::Reverse => {
                let slopes = y.grads(&x);
                from_fn(|k| slopes[k])
            }
            Self::Forward => x.map(|x| y.jvp(&[x], &[x.tape().constant(1.0)])),
        }
    }
}

/// Returns where the descent from `x` ends. `f` returns the value and the slopes.
///
/// A step is `η` times the slopes. `η` doubles after ten steps downwards and is halved at a step upwards.
pub fn descend<'t, const N: usize>(
    mut x: [Var<'t, f64>; N],
    mut f: impl FnMut([Var<'t, f64>; N]) -> Outcome<(Var<'t, f64>, [Var<'t, f64>; N])>,
) -> Outcome<[Var<'t, f64>; N]> {
    let small = |v: [Var<'t, f64>; N]| {
        let square = v.map(|v| v.square()).into_iter().reduce(|sum, square| sum + square);
        square.is_none_or(|square| square.sqrt().decide(|length| length <= 1e-5))
    };
    let (mut value, mut slopes) = f(x)?;
    let (mut eta, mut downwards) = (1e-5, 0);
    while !small(slopes) {
        if downwards == 10 {
            (eta, downwards) = (2.0 * eta, 0);
            continue;
        }
        let next: [_; N] = from_fn(|k| x[k] - slopes[k] * eta);
        if small(from_fn(|k| x[k] - next[k])) {
            break;
        }
        let (next_value, next_slopes) = f(next)?;
        if (next_value - value).decide(|difference| difference < 0.0) {
            (x, value, slopes) = (next, next_value, next_slopes);
            downwards += 1;
        } else {
            (eta, downwards) = (0.5 * eta, 0);
        }
    }
    Ok(x)
}
