//! What everything with parameters has in common, written once.

use crate::param::Param;
use crate::scalar::Scalar;

/// Writes the methods that follow from `parameters`, in the definition of a trait that has it.
///
/// They belong to each trait itself, not to a supertrait: a user needs one `use` to call them, and one `impl` block to
/// replace them.
macro_rules! trainable {
    () => {
        /// Returns the gradients of the [`parameters`](Self::parameters), in their order. A gradient is `None` if no
        /// backward pass has reached the parameter since the last [`zero_grad`](Self::zero_grad).
        fn gradient(&self) -> Vec<Option<std::sync::Arc<ndarray::ArrayD<T>>>> {
            self.parameters().iter().map($crate::param::Param::grad).collect()
        }

        /// Clears the gradients of all parameters.
        #[doc(alias = "zeroGradParameters")]
        fn zero_grad(&mut self) {
            self.parameters().iter().for_each($crate::param::Param::zero_grad);
        }

        /// Takes a step of gradient descent: `w -= gradient_step * grad` for each parameter `w` that has a gradient.
        #[doc(alias = "updateParameters")]
        fn update_parameters(&mut self, gradient_step: T) {
            self.parameters().iter().for_each(|parameter| parameter.update(gradient_step));
        }

        /// Returns what a save has to hold beside the [`parameters`](Self::parameters): values that passes change without a
        /// gradient, such as the running averages of [`BatchNorm`](crate::nn::BatchNorm). Each has a name. A
        /// module without such values returns an empty list, as this default does.
        #[doc(alias = "register_buffer")]
        fn buffers(&self) -> Vec<$crate::param::Param<T>> {
            Vec::new()
        }

        /// Sets the mode of this and of everything in it. By default it does nothing, as fits what is the same in both.
        fn set_mode(&mut self, _mode: $crate::nn::mode::Mode) {}

        /// Sets the mode to training, in which everything begins.
        ///
        /// # Example
        ///
        /// ```
        /// use ndarray::array;
        /// use tapegrad::nn::{Dropout, Module};
        ///
        /// let mut layer = Dropout::new(1.0, 0); // drops everything
        /// layer.eval();
        /// assert_eq!(layer.forward(&array![[3.0]]), array![[3.0]]);
        /// layer.train();
        /// assert_eq!(layer.forward(&array![[3.0]]), array![[0.0]]);
        /// ```
        fn train(&mut self) {
            self.set_mode($crate::nn::mode::Mode::Training);
        }

        /// Sets the mode to evaluation: see [`train`](Self::train).
        fn eval(&mut self) {
            self.set_mode($crate::nn::mode::Mode::Evaluation);
        }

        /// Returns the [`parameters`](Self::parameters) with names that differ, for saving. A network puts the place of a
        /// layer before the layer's own names, as in `0.weight`. By default a name is the parameter's own; the place is
        /// put before a name that another one has already, and a parameter without a name is called by its place.
        ///
        /// # Example
        ///
        /// ```
        /// use rand::{SeedableRng, rngs::StdRng};
        /// use tapegrad::nn::{Activation, Module, Sequential};
        ///
        /// # fn main() -> tapegrad::Result<()> {
        /// let net = Sequential::<f32>::mlp(3, 4, 3, 2, Activation::Tanh, &mut StdRng::seed_from_u64(0))?;
        /// let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
        /// assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]); // layer 1 is tanh
        /// # Ok(())
        /// # }
        /// ```
        #[doc(alias = "state_dict")]
        fn named_parameters(&self) -> Vec<(String, $crate::param::Param<T>)> {
            $crate::nn::trainable::with_own_names(&self.parameters())
        }

        /// Returns the [`buffers`](Self::buffers) with names that differ, as
        /// [`named_parameters`](Self::named_parameters) does. A save holds both.
        fn named_buffers(&self) -> Vec<(String, $crate::param::Param<T>)> {
            $crate::nn::trainable::with_own_names(&self.buffers())
        }

        /// Returns the number of weights: the elements of all parameters.
        ///
        /// # Example
        ///
        /// ```
        /// use rand::{SeedableRng, rngs::StdRng};
        /// use tapegrad::nn::{Linear, Module};
        ///
        /// let layer = Linear::<f32>::new(784, 10, &mut StdRng::seed_from_u64(0));
        /// assert_eq!(layer.parameter_count(), 7_850); // 784 · 10 + 10
        /// ```
        fn parameter_count(&self) -> usize {
            self.parameters().iter().map(|parameter| parameter.shape().elements()).sum()
        }
    };
}

pub(super) use trainable;

/// Returns parameters with names that differ: their own where that is possible.
pub(crate) fn with_own_names<T: Scalar>(parameters: &[Param<T>]) -> Vec<(String, Param<T>)> {
    let mut named: Vec<(String, Param<T>)> = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let mut name = parameter.name().to_string();
        while name.is_empty() || named.iter().any(|(taken, _)| *taken == name) {
            name = if name.is_empty() { index.to_string() } else { format!("{index}.{name}") };
        }
        named.push((name, parameter.clone()));
    }
    named
}

/// Appends the parameters that the list does not contain yet, each with the place of its layer before its name.
pub(super) fn extend_named<T: Scalar>(
    list: &mut Vec<(String, Param<T>)>,
    place: usize,
    parameters: Vec<(String, Param<T>)>,
) {
    for (name, parameter) in parameters {
        if !list.iter().any(|(_, known)| known.is(&parameter)) {
            list.push((format!("{place}.{name}"), parameter));
        }
    }
}

/// Appends the parameters that the list does not contain yet.
pub(super) fn extend_distinct<T: Scalar>(list: &mut Vec<Param<T>>, parameters: &[Param<T>]) {
    for parameter in parameters {
        if !list.iter().any(|known| known.is(parameter)) {
            list.push(parameter.clone());
        }
    }
}
