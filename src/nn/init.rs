//! [`Init`]: how parameters begin.

use std::f64::consts::TAU;

use ndarray::{ArrayD, IxDyn};
use rand::{Rng, RngExt};

use crate::param::Param;
use crate::scalar::Scalar;

/// A rule for the first values of a parameter.
///
/// | rule | values |
/// |---|---|
/// | [`constant`](Self::constant) | all the same |
/// | [`uniform`](Self::uniform) | between `-a` and `a` |
/// | [`normal`](Self::normal) | `N(0, σ²)`; the course's start is `normal(1e-3)` |
/// | [`xavier_uniform`](Self::xavier_uniform), [`xavier_normal`](Self::xavier_normal) | variance `2 / (fan_in + fan_out)` |
/// | [`he_uniform`](Self::he_uniform), [`he_normal`](Self::he_normal) | variance `2 / fan_in` |
/// | [`lecun_uniform`](Self::lecun_uniform), [`lecun_normal`](Self::lecun_normal) | variance `1 / fan_in` |
/// | [`orthogonal`](Self::orthogonal) | orthonormal rows or columns |
///
/// A matrix is a weight `(in, out)`, as in [`Linear`](super::Linear): `fan_in` is its first length, and `fan_out` its
/// second. An array of more axes is the kernel of a convolution, `(out, in, height, width)`: `fan_in` is
/// `in · height · width`, and `fan_out` is `out · height · width`. A vector has its length as both, and a single number 1.
///
/// A uniform distribution of variance `v` is between `-√(3 v)` and `√(3 v)`. All numbers are drawn in `f64`, so that an
/// `f32` parameter is the rounded `f64` parameter. Equal generators give equal values.
///
/// # Example
///
/// ```
/// use rand::{SeedableRng, rngs::StdRng};
/// use tapegrad::nn::{Init, Linear, Module};
///
/// let mut rng = StdRng::seed_from_u64(0);
/// let weight = Init::xavier_uniform().param::<f32>("weight", [4, 2], &mut rng);
/// assert!(weight.value().iter().all(|w| w.abs() <= 1.0)); // √(6 / (4 + 2))
/// let bias = Init::constant(0.0).param("bias", [2], &mut rng);
/// assert_eq!(Linear::from_params(weight, Some(bias)).name(), "Linear 4 -> 2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Init {
    rule: Rule,
    gain: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Constant,
    Uniform(Spread),
    Normal(Spread),
    Orthogonal,
}

/// The standard deviation, before the gain.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spread {
    /// The same for every shape. For a uniform distribution it is the bound.
    Fixed,
    /// `√(2 / (fan_in + fan_out))`
    Average,
    /// `√(1 / fan_in)`
    In,
}

impl Init {
    const fn new(rule: Rule, gain: f64) -> Self {
        Self { rule, gain }
    }

    /// Returns the rule that gives every element this value.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let ones = Init::constant(1.0).draw::<f64>([2], &mut StdRng::seed_from_u64(0));
    /// assert_eq!(ones, ndarray::array![1.0, 1.0].into_dyn());
    /// ```
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Self::new(Rule::Constant, value)
    }

    /// Returns the rule of numbers between `-bound` and `bound`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::uniform(0.5).draw::<f64>([100], &mut StdRng::seed_from_u64(0));
    /// assert!(drawn.iter().all(|x| x.abs() <= 0.5));
    /// ```
    #[must_use]
    pub const fn uniform(bound: f64) -> Self {
        Self::new(Rule::Uniform(Spread::Fixed), bound)
    }

    /// Returns the rule of numbers from `N(0, σ²)`. The course begins at `1e-3 · N(0, 1)`, which is `normal(1e-3)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::normal(2.0).draw::<f64>([10_000], &mut StdRng::seed_from_u64(0));
    /// assert!((drawn.std(0.0) - 2.0).abs() < 0.1);
    /// ```
    #[must_use]
    pub const fn normal(deviation: f64) -> Self {
        Self::new(Rule::Normal(Spread::Fixed), deviation)
    }

    /// Returns Xavier's rule (Glorot and Bengio 2010), for `tanh` and the sigmoid: uniform between `±√(6 / (fan_in +
    /// fan_out))`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::xavier_uniform().draw::<f64>([2, 4], &mut StdRng::seed_from_u64(0));
    /// assert!(drawn.iter().all(|x| x.abs() <= 1.0)); // √(6 / (2 + 4))
    /// ```
    #[doc(alias("glorot_uniform", "xavier_uniform_"))]
    #[must_use]
    pub const fn xavier_uniform() -> Self {
        Self::new(Rule::Uniform(Spread::Average), 1.0)
    }

    /// Returns Xavier's rule with a normal distribution of variance `2 / (fan_in + fan_out)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::xavier_normal().draw::<f64>([50, 150], &mut StdRng::seed_from_u64(0));
    /// assert!((drawn.std(0.0) - 0.1).abs() < 0.005); // √(2 / 200)
    /// ```
    #[doc(alias("glorot_normal", "xavier_normal_"))]
    #[must_use]
    pub const fn xavier_normal() -> Self {
        Self::new(Rule::Normal(Spread::Average), 1.0)
    }

    /// Returns He's rule (He et al. 2015), for `relu`: uniform between `±√(6 / fan_in)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::he_uniform().draw::<f64>([6, 4], &mut StdRng::seed_from_u64(0));
    /// assert!(drawn.iter().all(|x| x.abs() <= 1.0)); // √(6 / 6)
    /// ```
    #[doc(alias("kaiming_uniform", "kaiming_uniform_"))]
    #[must_use]
    pub const fn he_uniform() -> Self {
        Self::new(Rule::Uniform(Spread::In), std::f64::consts::SQRT_2)
    }

    /// Returns He's rule with a normal distribution of variance `2 / fan_in`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::he_normal().draw::<f64>([200, 50], &mut StdRng::seed_from_u64(0));
    /// assert!((drawn.std(0.0) - 0.1).abs() < 0.005); // √(2 / 200)
    /// ```
    #[doc(alias("kaiming_normal", "kaiming_normal_"))]
    #[must_use]
    pub const fn he_normal() -> Self {
        Self::new(Rule::Normal(Spread::In), std::f64::consts::SQRT_2)
    }

    /// Returns LeCun's rule (LeCun et al. 1998): uniform between `±√(3 / fan_in)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::lecun_uniform().draw::<f64>([3, 4], &mut StdRng::seed_from_u64(0));
    /// assert!(drawn.iter().all(|x| x.abs() <= 1.0)); // √(3 / 3)
    /// ```
    #[must_use]
    pub const fn lecun_uniform() -> Self {
        Self::new(Rule::Uniform(Spread::In), 1.0)
    }

    /// Returns LeCun's rule with a normal distribution of variance `1 / fan_in`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::lecun_normal().draw::<f64>([100, 100], &mut StdRng::seed_from_u64(0));
    /// assert!((drawn.std(0.0) - 0.1).abs() < 0.005); // √(1 / 100)
    /// ```
    #[must_use]
    pub const fn lecun_normal() -> Self {
        Self::new(Rule::Normal(Spread::In), 1.0)
    }

    /// Returns the rule of matrices with orthonormal columns, or orthonormal rows if there are fewer rows than columns
    /// (Saxe et al. 2014), each of these matrices as likely as another. An array of more axes is seen as a matrix with a
    /// row for each index of its first axis.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let drawn = Init::orthogonal().draw::<f64>([3, 1], &mut StdRng::seed_from_u64(0));
    /// assert!((drawn.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-14); // a column of length 1
    /// ```
    #[doc(alias = "orthogonal_")]
    #[must_use]
    pub const fn orthogonal() -> Self {
        Self::new(Rule::Orthogonal, 1.0)
    }

    /// Returns the rule with all values multiplied by this gain.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::Init;
    ///
    /// assert_eq!(Init::constant(2.0).with_gain(3.0), Init::constant(6.0));
    /// ```
    #[must_use]
    pub fn with_gain(self, gain: f64) -> Self {
        Self { gain: self.gain * gain, ..self }
    }

    /// Draws an array of this shape.
    ///
    /// # Panics
    ///
    /// If the rule is [`orthogonal`](Self::orthogonal), and the shape has fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::{Array2, Ix2};
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let q = Init::orthogonal().draw::<f64>([3, 3], &mut StdRng::seed_from_u64(0));
    /// let q = q.into_dimensionality::<Ix2>().unwrap();
    /// let identity = q.dot(&q.t()) - Array2::<f64>::eye(3);
    /// assert!(identity.iter().all(|off| off.abs() < 1e-15));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn draw<T: Scalar>(self, shape: impl AsRef<[usize]>, rng: &mut (impl Rng + ?Sized)) -> ArrayD<T> {
        let shape = shape.as_ref();
        let count = shape.iter().product();
        let values: Vec<f64> = match self.rule {
            Rule::Constant => vec![self.gain; count],
            Rule::Uniform(spread) => {
                // The bound is √3 times the deviation.
                let bound =
                    self.gain * if spread == Spread::Fixed { 1.0 } else { spread.deviation(shape) * 3f64.sqrt() };
                (0..count).map(|_| bound * rng.random_range(-1.0..=1.0)).collect()
            }
            Rule::Normal(spread) => {
                let deviation = self.gain * spread.deviation(shape);
                normal(count, rng).into_iter().map(|x| deviation * x).collect()
            }
            Rule::Orthogonal => {
                assert!(shape.len() >= 2, "Init::orthogonal: expected at least two axes, found the shape {shape:?}");
                let columns = shape[1..].iter().product();
                orthonormal(shape[0], columns, rng).into_iter().map(|x| self.gain * x).collect()
            }
        };
        let values = values.into_iter().map(T::from_f64).collect();
        ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many values as the shape has")
    }

    /// Draws a parameter of this name and shape.
    ///
    /// # Panics
    ///
    /// As [`draw`](Self::draw).
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Init;
    ///
    /// let w = Init::he_uniform().param::<f32>("weight", [4, 2], &mut StdRng::seed_from_u64(0));
    /// assert_eq!((w.name(), w.shape().to_string()), ("weight", "(4, 2)".to_string()));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn param<T: Scalar>(
        self,
        name: impl Into<String>,
        shape: impl AsRef<[usize]>,
        rng: &mut (impl Rng + ?Sized),
    ) -> Param<T> {
        Param::named(name, self.draw(shape, rng))
    }

    /// Draws a new value for a parameter.
    ///
    /// # Panics
    ///
    /// As [`draw`](Self::draw).
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Activation, Init, Module, Sequential};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let mut rng = StdRng::seed_from_u64(0);
    /// let network = Sequential::<f64>::mlp(3, 8, 4, 2, Activation::ReLU, &mut rng)?;
    /// for parameter in network.parameters() {
    ///     Init::normal(1e-3).apply(parameter, &mut rng);
    /// }
    /// assert!(network.parameters()[0].value().iter().all(|w| w.abs() < 1e-2));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn apply<T: Scalar>(self, parameter: &Param<T>, rng: &mut (impl Rng + ?Sized)) {
        parameter.set_value(self.draw(&**parameter.shape(), rng));
    }
}

impl Spread {
    fn deviation(self, shape: &[usize]) -> f64 {
        let (fan_in, fan_out) = fans(shape);
        match self {
            Self::Fixed => 1.0,
            Self::Average => (2.0 / (fan_in + fan_out)).sqrt(),
            Self::In => (1.0 / fan_in).sqrt(),
        }
    }
}

/// Returns how many numbers an output depends on, and how many outputs depend on an input.
fn fans(shape: &[usize]) -> (f64, f64) {
    let (fan_in, fan_out) = match *shape {
        [] => (1, 1),
        [length] => (length, length),
        [inputs, outputs] => (inputs, outputs),
        [outputs, inputs, ref kernel @ ..] => {
            let area: usize = kernel.iter().product();
            (inputs * area, outputs * area)
        }
    };
    (fan_in as f64, fan_out as f64)
}

/// Draws numbers from `N(0, 1)`, two at a time (Box and Muller 1958). `libm` has the same bits on every machine.
fn normal(count: usize, rng: &mut (impl Rng + ?Sized)) -> Vec<f64> {
    let pairs = (0..count.div_ceil(2)).flat_map(|_| {
        // 1 - u is above 0: its logarithm is finite.
        let (u, angle): (f64, f64) = (rng.random(), TAU * rng.random::<f64>());
        let radius = (-2.0 * libm::log(1.0 - u)).sqrt();
        [radius * libm::cos(angle), radius * libm::sin(angle)]
    });
    pairs.take(count).collect()
}

/// Draws a matrix with orthonormal rows, or columns if there are more rows than columns.
///
/// Gram and Schmidt's orthogonalization of independent normal vectors gives each such matrix the same chance. A second
/// round removes what rounding left of the first.
fn orthonormal(rows: usize, columns: usize, rng: &mut (impl Rng + ?Sized)) -> Vec<f64> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut new = normal(length, rng);
        for before in vectors.iter().chain(&vectors) {
            let along: f64 = before.iter().zip(&new).map(|(a, b)| a * b).sum();
            new.iter_mut().zip(before).for_each(|(x, b)| *x -= along * b);
        }
        let norm = new.iter().map(|x| x * x).sum::<f64>().sqrt();
        // Dependent vectors, which chance all but excludes, are drawn again.
        if norm > 1e-6 {
            new.iter_mut().for_each(|x| *x /= norm);
            vectors.push(new);
        }
    }
    let at = |row: usize, column: usize| if rows <= columns { vectors[row][column] } else { vectors[column][row] };
    (0..rows * columns).map(|index| at(index / columns, index % columns)).collect()
}
