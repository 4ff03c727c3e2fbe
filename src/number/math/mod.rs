//! Branch-free elementary functions: the compiler vectorizes loops over them.
//!
//! The functions of `std` are calls into the C library, one element at a time. The functions here are plain arithmetic
//! on one scalar, and they are always inlined. So a loop such as
//! `for (o, &x) in out.iter_mut().zip(x) { *o = exp_f32(x) }` becomes SSE2, AVX2 or AVX-512 code: the target of the
//! enclosing function decides.
//!
//! Every function keeps these rules:
//!
//! - Only `+ - * /`, fused multiply-add, comparisons, bit operations and selects: no call, no table, and a select (`if`
//!   between two values already computed) instead of a branch.
//! - Multiply-adds that are to be fused are written as `mul_add`: one instruction where the machine has it, elsewhere a
//!   slow function with the same bits. The same sequence of IEEE operations runs on every CPU and in scalar code, so the
//!   bits of a result depend neither on the instruction set nor on an element's place in the slice.
//! - No `floor`, `round` or float-to-integer cast: SSE2 lacks them or lacks them for f64. Adding a large constant with
//!   ulp 1 (a "shifter") rounds to the nearest integer instead, and leaves that integer in the low bits of the sum.
//! - NaN in, NaN out.
//!
//! Largest errors found, in units in the last place of the exact result (0.5 is correct rounding). f32: every 101st bit
//! pattern, against `std` in f64. f64: 20 million arguments for each function against 80-bit arithmetic, one half of
//! them uniform over the bit patterns, a quarter uniform over the interval where the function is not trivial, a quarter
//! spread over the binades 2^-40 to 2^9; for `sin` and `cos` also the five floats nearest to each multiple of pi/2.
//!
//! | function  | f32  | f64  |
//! |-----------|------|------|
//! | `exp`     | 0.93 | 0.89 |
//! | `exp_m1`  | 0.81 | 0.98 |
//! | `ln`      | 0.83 | 0.79 |
//! | `ln_1p`   | 0.82 | 0.82 |
//! | `tanh`    | 0.97 | 0.90 |
//! | `sigmoid` | 0.87 | 0.90 |
//! | `sin`     | 0.88 | 0.83 |
//! | `cos`     | 0.88 | 0.85 |
//! | `erf`     | 0.91 | 1.00 |
//! | `erfc`    | 0.51 | 1.06 |
//! | `pow`     | 0.51 | 0.61 |
//!
//! `sin` and `cos` hold up to `TRIG_LIMIT_*`; larger arguments need a longer reduction, which is not done here.
//!
//! Their callers have to be inlined, too: in a loop run by `pulp`, call them only from `#[inline(always)]` functions
//! and from closures made by `inlined!`. A plain closure is inlined only while it is short. A longer one becomes a
//! call, compiled for SSE2.
//!
//! Minimax polynomials come from the Remez exchange in 60-digit arithmetic. Their coefficients are then rounded to the
//! type.

mod error_function;
mod exponential;
mod logarithm;
mod polynomial;
mod power;
mod trigonometric;

pub(crate) use error_function::{erf_f32, erf_f64, erfc_f32, erfc_f64};
pub(crate) use exponential::{exp_f32, exp_f64, exp_m1_f32, exp_m1_f64, sigmoid_f32, sigmoid_f64, tanh_f32, tanh_f64};
pub(crate) use logarithm::{ln_1p_f32, ln_1p_f64, ln_f32, ln_f64};
pub(crate) use power::{pow_f32, pow_f64};
pub(crate) use trigonometric::{TRIG_LIMIT_F32, TRIG_LIMIT_F64, cos_f32, cos_f64, sin_f32, sin_f64};

#[cfg(test)]
// The exact values contain logarithms of 2 and 10: data, not approximations of named constants.
#[allow(clippy::approx_constant)]
mod tests;
