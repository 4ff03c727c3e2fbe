//! What the layers and the losses have in common, written once.

/// Writes `output` and `grad_input`, in the `impl` of [`Module`](super::Module) for a layer with the buffers `output`
/// and `delta`.
macro_rules! buffered_results {
    () => {
        fn output(&self) -> &Array2<T> {
            self.output.array()
        }

        fn grad_input(&self) -> &Array2<T> {
            self.delta.array()
        }
    };
}

/// Writes `new` for types that have no settings.
macro_rules! new_without_settings {
    ($($Layer:ident),+) => { $(
        impl<T: Scalar> $Layer<T> {
            #[doc = concat!("Returns a `", stringify!($Layer), "` for inputs of any width.")]
            ///
            /// # Example
            ///
            #[doc = concat!("See [`", stringify!($Layer), "`].")]
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }
        }
    )+ };
}

/// Writes `Default` for a type whose `new` has no arguments.
macro_rules! default_is_new {
    ($Type:ident) => {
        impl<T: Scalar> Default for $Type<T> {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}

/// Writes `Debug` for layers.
macro_rules! debug_prints_name {
    ($($Layer:ident),+) => { $(
        /// Prints the name.
        impl<T: Scalar> std::fmt::Debug for $Layer<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.name())
            }
        }
    )+ };
}

pub(super) use {buffered_results, debug_prints_name, default_is_new, new_without_settings};
