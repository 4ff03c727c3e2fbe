//! [`Functions`]: the functions that differ between the number types.

use super::vocabulary::vocabulary;
use super::{math, special};

macro_rules! functions {
    (
        by_type { $( $(#[$doc:meta])* fn $f:ident($($p:ident: $P:ident)?): $single:path, $double:path; )* }
        by_formula { $($formulas:tt)* }
    ) => {
        /// The functions that differ between the number types.
        pub trait Functions<T> {
            $( $(#[$doc])* fn $f(x: T $(, $p: functions!(@number $P))?) -> T; )*
            /// Whether the number is neither infinite nor NaN.
            fn is_finite(x: T) -> bool;
            /// Whether the number is NaN.
            fn is_nan(x: T) -> bool;
            /// Whether `sin_fast` and `cos_fast` are accurate at this argument.
            fn in_fast_range(x: T) -> bool;
            /// The sine in the fast range, without a branch.
            fn sin_fast(x: T) -> T;
            /// The cosine in the fast range, without a branch.
            fn cos_fast(x: T) -> T;
            /// The sine anywhere.
            fn sin_far(x: T) -> T;
            /// The cosine anywhere.
            fn cos_far(x: T) -> T;
            /// The tangent anywhere.
            fn tan_far(x: T) -> T;
        }

        functions!(@functions f32, math::TRIG_LIMIT_F32, $( $f $single $(, $p)?; )*
            sin_fast math::sin_f32; cos_fast math::cos_f32; sin_far libm::sinf; cos_far libm::cosf; tan_far libm::tanf;);
        functions!(@functions f64, math::TRIG_LIMIT_F64, $( $f $double $(, $p)?; )*
            sin_fast math::sin_f64; cos_fast math::cos_f64; sin_far libm::sin; cos_far libm::cos; tan_far libm::tan;);
    };
    (@number $P:ident) => { T };
    (@functions $T:ident, $limit:path, $( $f:ident $by:path $(, $p:ident)?; )*) => {
        impl Functions<$T> for $T {
            $(
                #[inline(always)]
                fn $f(x: $T $(, $p: $T)?) -> $T {
                    $by(x $(, $p)?)
                }
            )*
            #[inline(always)]
            fn is_finite(x: $T) -> bool {
                x.is_finite()
            }
            #[inline(always)]
            fn is_nan(x: $T) -> bool {
                x.is_nan()
            }
            #[inline(always)]
            fn in_fast_range(x: $T) -> bool {
                x.abs() <= $limit
            }
        }
    };
}
vocabulary!(functions);
