//! Initializers: bounds, moments, and orthogonality.

use ndarray::{Array2, ArrayD, Ix2};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::nn::{Init, Module, Sequential};
use tapegrad::{Param, Scalar};

fn draw<T: Scalar>(init: Init, shape: &[usize]) -> ArrayD<T> {
    init.draw(shape, &mut StdRng::seed_from_u64(1))
}

/// The mean of `x^power`.
fn moment(x: &ArrayD<f64>, power: i32) -> f64 {
    x.iter().map(|x| x.powi(power)).sum::<f64>() / x.len() as f64
}

/// Compares the first four moments with those of a distribution of this variance and this fourth moment (in units of the
/// squared variance), within five standard errors.
fn assert_moments(name: &str, init: Init, shape: &[usize], variance: f64, kurtosis: f64) {
    let x = draw::<f64>(init, shape).mapv(|x| x / variance.sqrt());
    let n = x.len() as f64;
    let normal = kurtosis == 3.0;
    // The moments 2, 4, 6 and 8 of the distribution with variance 1.
    let (m4, m6, m8) = if normal { (3.0, 15.0, 105.0) } else { (1.8, 27.0 / 7.0, 9.0) };
    assert_eq!(m4, kurtosis);
    let expected = [(1, 0.0, 1.0), (2, 1.0, m4 - 1.0), (3, 0.0, m6), (4, m4, m8 - m4 * m4)];
    for (power, mean, spread) in expected {
        let (found, error) = (moment(&x, power), 5.0 * (spread / n).sqrt());
        assert!((found - mean).abs() < error, "{name} {shape:?}: moment {power} is {found}, not {mean} ± {error}");
    }
}

#[test]
fn moments_are_those_of_the_rules() {
    let matrix: &[usize] = &[120, 40];
    let kernel: &[usize] = &[20, 8, 5, 5];
    for (shape, fan_in, fan_out) in [(matrix, 120.0, 40.0), (kernel, 200.0, 500.0)] {
        let rules = [
            ("xavier", Init::xavier_uniform(), Init::xavier_normal(), 2.0 / (fan_in + fan_out)),
            ("he", Init::he_uniform(), Init::he_normal(), 2.0 / fan_in),
            ("lecun", Init::lecun_uniform(), Init::lecun_normal(), 1.0 / fan_in),
            ("fixed", Init::uniform(0.6), Init::normal(0.6), 0.36),
            ("gain", Init::he_uniform().with_gain(3.0), Init::he_normal().with_gain(3.0), 18.0 / fan_in),
        ];
        for (name, uniform, normal, variance) in rules {
            let variance_of_uniform = if name == "fixed" { variance / 3.0 } else { variance };
            assert_moments(name, uniform, shape, variance_of_uniform, 1.8);
            assert_moments(name, normal, shape, variance, 3.0);
            let bound = (3.0 * variance_of_uniform).sqrt();
            let largest = draw::<f64>(uniform, shape).iter().fold(0.0, |a: f64, x| a.max(x.abs()));
            assert!(largest <= bound && largest > 0.99 * bound, "{name}: {largest} for {bound}");
        }
    }
    assert_moments("the course's", Init::normal(1e-3), &[784, 3], 1e-6, 3.0);
}

#[test]
fn constants_are_constant() {
    assert!(draw::<f32>(Init::constant(0.25), &[3, 4]).iter().all(|&x| x == 0.25));
    assert_eq!(draw::<f64>(Init::constant(2.0), &[]).sum(), 2.0);
    assert_eq!(draw::<f64>(Init::normal(1.0), &[0, 3]).len(), 0);
}

#[test]
fn orthogonal_rows_or_columns() {
    for shape in [&[7, 7][..], &[9, 4], &[4, 9], &[6, 2, 3, 3], &[1, 5], &[5, 1]] {
        let q = draw::<f64>(Init::orthogonal().with_gain(2.0), shape);
        let (rows, columns) = (shape[0], shape[1..].iter().product());
        let q = q.to_shape((rows, columns)).unwrap();
        let product = if rows <= columns { q.dot(&q.t()) } else { q.t().dot(&q) };
        let off = product - 4.0 * Array2::<f64>::eye(rows.min(columns));
        assert!(off.iter().all(|off| off.abs() < 1e-14), "{shape:?}: {off}");
    }
    // No direction is preferred: the mean of the first element's square is 1/n over many draws.
    let mut rng = StdRng::seed_from_u64(3);
    let squares = (0..2000).map(|_| Init::orthogonal().draw::<f64>([3, 3], &mut rng)[[0, 0]]);
    let (sum, count) = squares.fold((0.0, 0.0), |(sum, count), x| (sum + x * x, count + 1.0));
    assert!((sum / count - 1.0 / 3.0_f64).abs() < 0.04, "{}", sum / count);
}

#[test]
fn single_precision_is_the_rounded_double_precision() {
    for init in [Init::he_normal(), Init::xavier_uniform(), Init::orthogonal()] {
        assert_eq!(draw::<f32>(init, &[5, 4]), draw::<f64>(init, &[5, 4]).mapv(|x| x as f32));
    }
    let draws = [1, 2].map(|seed| Init::he_normal().draw::<f64>([3, 3], &mut StdRng::seed_from_u64(seed)));
    assert_ne!(draws[0], draws[1]);
}

#[test]
fn a_network_is_initialized_in_place() {
    let mut rng = StdRng::seed_from_u64(0);
    let network = Sequential::<f64>::mlp(3, 5, 4, 2, tapegrad::nn::Activation::Tanh, &mut rng).unwrap();
    for parameter in network.parameters().iter().filter(|parameter| parameter.shape().len() == 2) {
        Init::orthogonal().apply(parameter, &mut rng);
    }
    let w = (*network.parameters()[0].value()).clone().into_dimensionality::<Ix2>().unwrap();
    assert!((w.t().dot(&w) - Array2::<f64>::eye(4)).iter().all(|off| off.abs() < 1e-14));
}

#[test]
#[should_panic(expected = "Init::orthogonal: expected at least two axes, found the shape [3]")]
fn a_vector_is_not_orthogonal() {
    Init::orthogonal().apply(&Param::<f64>::new(ndarray::array![1.0, 2.0, 3.0]), &mut StdRng::seed_from_u64(0));
}
