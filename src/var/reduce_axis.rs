//! Reductions of [`Var`] along one axis, which they leave out.

use crate::scalar::Scalar;
use crate::shape::KeepDims;
use crate::tape::Var;

macro_rules! along_one_axis {
    ($( $method:ident, $axes:ident, $what:literal $(, $ddof:ident: $after:literal)?: $example:literal; )*) => {
        /// Reductions along one axis. The result does not have this axis. The methods with several axes say whether they stay
        /// with length 1.
        impl<T: Scalar> Var<'_, T> { $(
            #[doc = concat!(
                "Returns ", $what, " along an axis, without it: [`", stringify!($axes), "`](Self::", stringify!($axes),
                ") of one axis with [`KeepDims::No`]. A negative axis counts from the end."
            )]
            ///
            /// # Panics
            ///
            /// If the axis is out of range.
            $( #[doc = $after] )?
            ///
            /// # Example
            ///
            /// ```
            /// use ndarray::array;
            /// use tapegrad::Tape;
            ///
            /// let tape = Tape::<f64>::new();
            /// let x = tape.leaf(array![[3.0, 4.0], [0.0, 2.0]]);
            #[doc = $example]
            /// ```
            #[track_caller]
            #[must_use]
            pub fn $method(self, axis: isize $(, $ddof: usize)?) -> Self {
                self.$axes([axis], $($ddof,)? KeepDims::No)
            }
        )* }
    };
}
along_one_axis! {
    sum_axis, sum_axes, "the sum": "assert_eq!(x.sum_axis(1).value(), array![7.0, 2.0].into_dyn());";
    mean_axis, mean_axes, "the mean": "assert_eq!(x.mean_axis(-1).value(), array![3.5, 1.0].into_dyn());";
    max_axis, max_axes, "the maximum": "assert_eq!(x.max_axis(0).value(), array![3.0, 4.0].into_dyn());";
    min_axis, min_axes, "the minimum": "assert_eq!(x.min_axis(0).value(), array![0.0, 2.0].into_dyn());";
    prod_axis, prod_axes, "the product": "assert_eq!(x.prod_axis(1).value(), array![12.0, 0.0].into_dyn());";
    norm_axis, norm_axes, "the Euclidean norm": "assert_eq!(x.norm_axis(1).value(), array![5.0, 2.0].into_dyn());";
    logsumexp_axis, logsumexp_axes, "`ln Σ e^x`":
        "assert!((x.logsumexp_axis(0).value()[[0]] - (1.0 + 3.0_f64.exp()).ln()).abs() < 1e-15);";
    var_axis, var_axes, "the variance", ddof: "\n`ddof` is 0 for a population, 1 for a sample.":
        "assert_eq!(x.var_axis(1, 0).value(), array![0.25, 1.0].into_dyn());";
    std_axis, std_axes, "the standard deviation", ddof: "\n`ddof` is 0 for a population, 1 for a sample.":
        "assert!((x.std_axis(1, 0).value()[[0]] - 0.5).abs() < 1e-15);";
}
