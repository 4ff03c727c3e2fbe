//! Results have the same bits with every instruction set of the machine and with any number of threads.

use ndarray::{Array, ArrayD, Dimension};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::nn::{Activation, Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::op::{Binary, Saves, Unary};
use tapegrad::optim::{Adam, Optimizer, Sgd};
use tapegrad::train::{ByHand, ByTape, Descent, Examples, Learner, mini_batch_descent};
use tapegrad::{InstructionSet, KeepDims, Param, Reduction, Scalar, Tape, Var};

/// The bits of many results.
#[derive(PartialEq)]
struct Bits(Vec<(&'static str, Vec<u64>)>);

impl Bits {
    fn add<T: Scalar, D: Dimension>(&mut self, name: &'static str, x: &Array<T, D>) {
        // The conversion to f64 is exact. The bits of a NaN mean nothing.
        let bits = x.iter().map(|x| if x.to_f64().is_nan() { u64::MAX } else { x.to_f64().to_bits() });
        self.0.push((name, bits.collect()));
    }

    fn add_of<'t, T: Scalar>(&mut self, name: &'static str, y: Var<'t, T>, inputs: &[Var<'t, T>]) {
        self.add(name, &y.value().to_owned());
        // Not constant, so that no pullback is trivial.
        let weights = ArrayD::from_shape_fn(y.shape().to_vec(), |i| {
            T::from_f64(i.as_array_view().iter().fold(0.3, |sum, &i| sum + 0.7 * (i as f64 + sum).sin()))
        });
        y.tape().zero_grad();
        y.backward_with(weights);
        for x in inputs {
            if let Some(grad) = x.grad() {
                self.add(name, &grad.to_owned());
            }
        }
    }
}

/// Returns numbers of the interval, and none of them twice.
fn numbers<T: Scalar>(shape: &[usize], low: f64, high: f64, seed: u64) -> ArrayD<T> {
    let mut rng = StdRng::seed_from_u64(seed);
    ArrayD::from_shape_simple_fn(shape, || T::from_f64(rng.random_range(low..high)))
}

/// Every elementwise function over its interval and beyond, at lengths that leave a rest.
fn elementwise<T: Scalar>(bits: &mut Bits) {
    for (unary, interval) in Unary::<T>::samples() {
        for (low, high) in [(interval.start, interval.end), (-30.0, 30.0)] {
            let tape = Tape::new();
            let x = tape.leaf(numbers::<T>(&[203], low, high, 1));
            match unary.saves() {
                Saves::NotDifferentiable => bits.add(unary.name(), &x.unary(unary).value().to_owned()),
                _ => bits.add_of(unary.name(), x.unary(unary), &[x]),
            }
        }
    }
    for (binary, interval) in Binary::samples() {
        let tape = Tape::new();
        let a = tape.leaf(numbers::<T>(&[7, 33], interval.start, interval.end, 3));
        let b = tape.leaf(numbers::<T>(&[33], interval.start, interval.end, 4));
        match [0, 1].map(|k| binary.saves(k)) {
            [Saves::NotDifferentiable, Saves::NotDifferentiable] => {
                bits.add(binary.name(), &a.binary(binary, b).value().to_owned());
            }
            _ => bits.add_of(binary.name(), a.binary(binary, b), &[a, b]),
        }
    }
}

fn reductions<T: Scalar>(bits: &mut Bits) {
    use KeepDims::No;
    for shape in [[3, 5, 7], [2, 70, 37], [5, 2, 1100]] {
        for axes in [&[0][..], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2]] {
            let tape = Tape::new();
            let x = tape.leaf(numbers::<T>(&shape, 0.2, 1.7, 5));
            for (name, y) in [
                ("sum", x.sum_axes(axes, No)),
                ("mean", x.mean_axes(axes, No)),
                ("max", x.max_axes(axes, No)),
                ("min", x.min_axes(axes, No)),
                ("prod", x.prod_axes(axes, No)),
                ("norm", x.norm_axes(axes, No)),
                ("logsumexp", x.logsumexp_axes(axes, No)),
                ("var", x.var_axes(axes, 0, No)),
                ("std", x.std_axes(axes, 1, No)),
            ] {
                bits.add_of(name, y, &[x]);
            }
            if let &[axis] = axes {
                bits.add_of("softmax", x.softmax(axis), &[x]);
                bits.add_of("log_softmax", x.log_softmax(axis), &[x]);
                bits.add_of("cumsum", x.cumsum(axis), &[x]);
            }
        }
    }
}

fn layers<T: Scalar>(bits: &mut Bits) {
    let tape = Tape::new();
    let images = tape.leaf(numbers::<T>(&[3, 2, 9, 8], -1.0, 1.0, 6));
    let kernel = tape.leaf(numbers::<T>(&[5, 2, 3, 3], -0.5, 0.5, 7));
    let (a, b) = (tape.leaf(numbers::<T>(&[5], 0.5, 1.5, 8)), tape.leaf(numbers::<T>(&[5], -0.5, 0.5, 9)));
    let y = images.conv2d(kernel, Some(b), 1, 1);
    bits.add_of("conv2d", y, &[images, kernel, b]);
    let y = y.batch_norm(a, b, T::from_f64(1e-5)).relu().max_pool2d(2, 2);
    bits.add_of("batch_norm", y, &[images, kernel, a, b]);
    for (rows, width) in [(7, 5), (7, 40), (7, 300), (40, 600)] {
        let x = tape.leaf(numbers::<T>(&[rows, width], -1.0, 3.0, 10));
        let (a, b) =
            (tape.leaf(numbers::<T>(&[width], 0.5, 1.5, 11)), tape.leaf(numbers::<T>(&[width], -0.5, 0.5, 12)));
        bits.add_of("layer_norm", x.layer_norm(a, b, T::from_f64(1e-5)), &[x, a, b]);
    }
    // Each path of the matrix product, and sizes that are shared among threads.
    for (m, k, n) in [(1, 70, 12), (1, 90, 40), (20, 300, 1), (5, 33, 90), (40, 25, 30), (130, 300, 110)] {
        let (a, b) = (tape.leaf(numbers::<T>(&[m, k], -1.0, 1.0, 13)), tape.leaf(numbers::<T>(&[k, n], -1.0, 1.0, 14)));
        bits.add_of("matmul", a.matmul(b), &[a, b]);
    }
}

/// Matrices of one block and of several.
fn linear_algebra<T: Scalar>(bits: &mut Bits) {
    for n in [4, 33, 50] {
        let tape = Tape::new();
        let a = tape.leaf(numbers::<T>(&[n, n], -1.0, 1.0, 16));
        let positive = a.matmul(a.transpose()) / T::from_f64(n as f64) + tape.constant(ndarray::Array2::eye(n));
        bits.add_of("inv", a.inv(), &[a]);
        bits.add_of("det", a.det(), &[a]);
        bits.add_of("slogdet", a.slogdet().1, &[a]);
        bits.add_of("cholesky", positive.cholesky(), &[a]);
        for columns in [1, 4, 40] {
            let b = tape.leaf(numbers::<T>(&[n, columns], -1.0, 1.0, 17));
            bits.add_of("solve", a.solve(b), &[a, b]);
            bits.add_of("solve triangular", positive.tril(0).solve(b), &[a, b]);
        }
    }
}

/// A network is trained by hand and on a tape.
fn training<T: Scalar>(bits: &mut Bits) {
    let x = numbers::<T>(&[60, 12], -1.0, 1.0, 15).into_dimensionality().expect("two axes");
    let y = ndarray::Array2::from_shape_fn((60, 4), |(i, j)| {
        T::from_f64(f64::from(u8::from((x[[i, 0]].to_f64() * 2.0 + 2.0) as usize == j)))
    });
    let examples = Examples::new(x, y).expect("as many rows");
    for kind in 0..2 {
        let network =
            Sequential::<T>::mlp(3, 12, 40, 4, Activation::Tanh, &mut StdRng::seed_from_u64(1)).expect("layers");
        let parameters: Vec<Param<T>> = network.parameters().to_vec();
        let mut learner: Box<dyn Learner<T>> = match kind {
            0 => Box::new(ByHand::new(network, SoftmaxCrossEntropy::new())),
            _ => Box::new(ByTape::new(move |tape, x| network.record(tape, x), SoftmaxCrossEntropy::new())),
        };
        let descent = Descent::new(4).seed(7);
        let history = match kind {
            0 => mini_batch_descent(
                &mut *learner,
                &mut Sgd::new(&parameters, T::from_f64(0.1)),
                &examples,
                None,
                16,
                descent,
            ),
            _ => mini_batch_descent(
                &mut *learner,
                &mut Adam::new(&parameters, T::from_f64(0.01)),
                &examples,
                None,
                16,
                descent,
            ),
        };
        let losses: Vec<T> = history.expect("it descends").losses().iter().map(|&x| T::from_f64(x)).collect();
        bits.add("losses", &ndarray::Array1::from(losses));
        for parameter in &parameters {
            bits.add("trained weights", &*parameter.value());
        }
    }
    // A convolutional network with a normalization, on the tape alone.
    let images = numbers::<T>(&[6, 1, 8, 8], -1.0, 1.0, 16);
    let kernel = Param::new(numbers::<T>(&[4, 1, 3, 3], -0.5, 0.5, 17));
    let (scale, shift) =
        (Param::new(numbers::<T>(&[64], 0.9, 1.1, 18)), Param::new(numbers::<T>(&[64], -0.1, 0.1, 19)));
    let weight = Param::new(numbers::<T>(&[64, 3], -0.3, 0.3, 20));
    let mut adam = Adam::new([&kernel, &scale, &shift, &weight], T::from_f64(0.01));
    let mut tape = Tape::new();
    for _ in 0..5 {
        let x = tape.constant(&images).conv2d(tape.param(&kernel), None, 1, 1).gelu().avg_pool2d(2, 2).reshape([6, 64]);
        let logits =
            x.layer_norm(tape.param(&scale), tape.param(&shift), T::from_f64(1e-5)).matmul(tape.param(&weight));
        logits.cross_entropy_labels(&[0, 1, 2, 0, 1, 2], Reduction::Mean).backward();
        tape.reset();
        adam.step();
        adam.zero_grad();
    }
    for parameter in [&kernel, &scale, &shift, &weight] {
        bits.add("trained kernels", &*parameter.value());
    }
}

fn all() -> Bits {
    let mut bits = Bits(Vec::new());
    elementwise::<f32>(&mut bits);
    elementwise::<f64>(&mut bits);
    reductions::<f32>(&mut bits);
    reductions::<f64>(&mut bits);
    layers::<f32>(&mut bits);
    linear_algebra::<f32>(&mut bits);
    linear_algebra::<f64>(&mut bits);
    layers::<f64>(&mut bits);
    training::<f32>(&mut bits);
    training::<f64>(&mut bits);
    bits
}

fn assert_equal(found: &Bits, expected: &Bits, on: &str) {
    assert_eq!(found.0.len(), expected.0.len());
    for (index, (found, expected)) in found.0.iter().zip(&expected.0).enumerate() {
        if found != expected {
            let at = found.1.iter().zip(&expected.1).position(|(a, b)| a != b);
            panic!("{on}: result {index}, of {}, has other bits at {at:?}", expected.0);
        }
    }
}

/// One test, not several: the instruction set is a setting of the process. Other tests may run meanwhile. They do not
/// notice.
#[test]
fn bits_depend_neither_on_the_instruction_set_nor_on_threads() {
    let expected = all();
    assert!(expected.0.len() > 300 && expected.0.iter().all(|(_, bits)| !bits.is_empty()));
    for set in InstructionSet::available() {
        InstructionSet::force(Some(set));
        let found = all();
        InstructionSet::force(None);
        assert_equal(&found, &expected, &format!("{set:?}"));
    }
    #[cfg(feature = "rayon")]
    for threads in [2, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        assert_equal(&pool.install(all), &expected, &format!("{threads} threads"));
    }
}
