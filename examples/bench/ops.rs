//! `--ops`: one operation at a time, forward and backward.
//!
//! A step clears the gradients, runs the operation on inputs that all ask for their gradient, and sweeps back from a
//! cotangent of ones of the result's shape. After three steps of warm-up, steps are timed for `--seconds`, at least five.
//! With `--seconds 0` there is one step and no warm-up: it shows that all operations work.
//!
//! Sizes: S, M and L are 8, 316 and 1000 per side. Below, `n` is an array of side × side elements and `v` one of side.
//! Convolutions, pools, batch normalization, batched products and linear algebra have shapes of their own and are listed
//! under S alone.
//!
//! | operation | meaning |
//! |---|---|
//! | `exp` to `sqrt`, `softplus`, `gelu`, `silu` | element by element |
//! | `powf` | to the power 2.5 |
//! | `add`, `mul`, `div`, `maximum`, `where` | of two `n`; `where` has one flag for each row |
//! | `add_row`, `mul_column` | `n + v`; `n` times a column `(side, 1)` |
//! | `sum` | of all elements; other reductions name their axis at the end, `_0` or `_1` |
//! | `var_1`, `norm_1` | the variance divides by the count; the Euclidean norm of each row |
//! | `transpose_mul` | `xᵀ · x`, element by element |
//! | `slice_step`, `reshape_mul` | every second row times 1.5; as one vector, times 1.5 |
//! | `pad`, `tril` | one row and column of zeros on all sides; the lower triangle |
//! | `index_select`, `gather` | rows `idx`; four times the element `idx[i]` of row `i` |
//! | `concat` | four `n` side by side |
//! | `matmul`, `matvec`, `outer`, `batched_matmul` | `n n`, `n v`, `v vᵀ`, 64 products of 32 × 32 |
//! | `layer_norm`, `cross_entropy` | rows of `n` with gain and bias; the mean over rows, labels `idx` |
//! | `conv2d_3x3` | `(16, 3, 32, 32)` by `(16, 3, 3, 3)`, padding 1 |
//! | `conv2d_5x5` | `(16, 16, 28, 28)` by `(32, 16, 5, 5)` |
//! | `max_pool2d`, `avg_pool2d` | `(16, 16, 28, 28)`, windows of 2 × 2 |
//! | `batch_norm` | `(64, 16, 14, 14)` with gain and bias |
//! | `inv_k`, `det_k`, `logdet_k`, `cholesky_k`, `solve_k` | of a `k` × `k` matrix; `solve` has four right sides |
//! | `inv_32x8` | 32 inverses of 8 × 8 |
//!
//! Here `idx[i] = 7919 i mod side`: all indices, in no order. Values are those of NumPy's `default_rng(7)`, inputs in order:
//! uniform in `[-1, 1)`, or in `[0.5, 1.5)` for `ln`, `sqrt`, `powf`, `div` and `prod_1`. The latter are raised to the power
//! 0.01 where a row has more than 100 elements, so that products stay finite. The matrices of linear algebra are
//! `x xᵀ / k + I`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ndarray::{Array2, ArrayD, IxDyn};
use serde_json::json;
use tapegrad::op::Unary;
use tapegrad::{KeepDims, Reduction, Scalar, Tape, Var};

use crate::data;

/// The side of the arrays.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
#[value(rename_all = "verbatim")]
pub enum Size {
    /// 8, and the operations with shapes of their own
    S,
    /// 316
    M,
    /// 1000
    L,
}

impl Size {
    fn side(self) -> usize {
        match self {
            Self::S => 8,
            Self::M => 316,
            Self::L => 1000,
        }
    }
}

/// What to time.
pub struct Selection<'a> {
    /// Operations whose names contain this.
    pub only: Option<&'a str>,
    pub size: Option<Size>,
    pub time: Duration,
    pub threads: usize,
}

/// The values of an operation's inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// In `[-1, 1)`.
    Any,
    /// In `[0.5, 1.5)`, or near 1 in long rows.
    Positive,
    /// The first input is a symmetric positive definite matrix.
    Definite,
}

type Function<T> = Box<dyn for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>>;

struct Case<T> {
    name: String,
    shapes: Vec<Vec<usize>>,
    values: Values,
    function: Function<T>,
}

/// Times the operations that are asked for, and prints a line for each.
///
/// # Errors
///
/// If no operation has this name and this size.
pub fn run<T: Scalar>(selection: &Selection<'_>) -> Result<(), String> {
    let mut found = false;
    for &size in Size::value_variants().iter().filter(|&&size| selection.size.is_none_or(|only| only == size)) {
        for case in cases::<T>(size.side()) {
            if selection.only.is_none_or(|only| case.name.contains(only)) {
                found = true;
                time(&case, size, selection);
            }
        }
    }
    match selection.only {
        Some(only) if !found => Err(format!("--only {only}: expected part of the name of an operation of this size")),
        _ => Ok(()),
    }
}

fn time<T: Scalar>(case: &Case<T>, size: Size, selection: &Selection<'_>) {
    let mut step = step(case);
    let mut times = Vec::with_capacity(1 << 16);
    let (warm_up, least) = if selection.time.is_zero() { (0, 1) } else { (3, 5) };
    let start = Instant::now();
    (0..warm_up).for_each(|_| step());
    while start.elapsed() < selection.time || times.len() < least {
        let begin = Instant::now();
        step();
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let round = |microseconds: f64| (microseconds * 100.0).round() / 100.0;
    let middle = times.len() / 2;
    let median = if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
    let result = json!({
        "peer": "tapegrad",
        "op": case.name,
        "size": format!("{size:?}"),
        "dtype": T::DTYPE,
        "threads": selection.threads,
        "median_us": round(median),
        "min_us": round(times[0]),
        "steps": times.len(),
    });
    println!("{result}");
}

/// Returns what runs one step.
fn step<T: Scalar>(case: &Case<T>) -> impl FnMut() {
    let arrays = inputs::<T>(&case.shapes, case.values);
    let mut tape = Tape::new();
    let mut leaves = move |step: &mut dyn for<'t> FnMut(&[Var<'t, T>])| {
        tape.reset();
        match &*arrays {
            [a] => step(&[tape.leaf(a)]),
            [a, b] => step(&[tape.leaf(a), tape.leaf(b)]),
            [a, b, c] => step(&[tape.leaf(a), tape.leaf(b), tape.leaf(c)]),
            arrays => step(&arrays.iter().map(|array| tape.leaf(array)).collect::<Vec<_>>()),
        }
    };
    let mut seed = Arc::new(ArrayD::zeros(IxDyn(&[])));
    leaves(&mut |x| seed = Arc::new(ArrayD::from_elem(IxDyn(&(case.function)(x).shape()), T::ONE)));
    move || leaves(&mut |x| (case.function)(x).backward_with(&seed))
}

fn inputs<T: Scalar>(shapes: &[Vec<usize>], values: Values) -> Vec<Arc<ArrayD<T>>> {
    let mut random = data::numpy();
    let mut array = |first: bool, shape: &[usize]| {
        let last = shape[shape.len() - 1];
        let low = if values == Values::Positive { 0.5 } else { -1.0 };
        let width = if values == Values::Positive { 1.0 } else { 2.0 };
        let mut x = ArrayD::from_shape_simple_fn(IxDyn(shape), || low + width * random());
        if values == Values::Definite && first {
            for mut matrix in x.exact_chunks_mut(IxDyn(&block(shape))) {
                let flat = matrix.to_shape((last, last)).expect("the matrices are square").to_owned();
                let definite = flat.dot(&flat.t()) / last as f64 + Array2::<f64>::eye(last);
                matrix.assign(&definite.into_shape_with_order(IxDyn(&block(shape))).expect("the same elements"));
            }
        }
        if values == Values::Positive && last > 100 {
            x.mapv_inplace(|x| x.powf(0.01));
        }
        Arc::new(x.mapv(T::from_f64))
    };
    shapes.iter().enumerate().map(|(k, shape)| array(k == 0, shape)).collect()
}

/// Returns the shape of one matrix in an array of matrices.
fn block(shape: &[usize]) -> Vec<usize> {
    let axes = shape.len();
    shape.iter().enumerate().map(|(axis, &length)| if axis + 2 < axes { 1 } else { length }).collect()
}

/// Returns the operations of a size.
fn cases<T: Scalar>(side: usize) -> Vec<Case<T>> {
    let mut list = List { side, cases: Vec::new() };
    list.elementwise();
    list.reductions();
    list.rearranging();
    list.products();
    if side == Size::S.side() {
        list.images();
        list.linear_algebra();
    }
    list.cases
}

struct List<T> {
    side: usize,
    cases: Vec<Case<T>>,
}

impl<T: Scalar> List<T> {
    fn add<const N: usize>(
        &mut self,
        name: impl Into<String>,
        shapes: [&[usize]; N],
        values: Values,
        function: impl for<'t> Fn([Var<'t, T>; N]) -> Var<'t, T> + 'static,
    ) {
        let function: Function<T> = Box::new(move |x| function(std::array::from_fn(|k| x[k])));
        let shapes = shapes.map(<[usize]>::to_vec).to_vec();
        self.cases.push(Case { name: name.into(), shapes, values, function });
    }

    /// Adds an operation on one matrix.
    fn one(&mut self, name: &str, function: impl for<'t> Fn(Var<'t, T>) -> Var<'t, T> + 'static) {
        let values = if matches!(name, "ln" | "sqrt" | "powf" | "prod_1") { Values::Positive } else { Values::Any };
        self.add(name, [&[self.side, self.side]], values, move |[x]| function(x));
    }

    fn elementwise(&mut self) {
        let side = self.side;
        let rows = [
            ("exp", Unary::Exp),
            ("tanh", Unary::Tanh),
            ("sigmoid", Unary::Sigmoid),
            ("relu", Unary::Relu),
            ("square", Unary::Square),
            ("sin", Unary::Sin),
            ("cos", Unary::Cos),
            ("erf", Unary::Erf),
            ("softplus", Unary::Softplus),
            ("gelu", Unary::Gelu),
            ("silu", Unary::Silu),
            ("abs", Unary::Abs),
            ("ln", Unary::Ln),
            ("sqrt", Unary::Sqrt),
            ("powf", Unary::Powf { exponent: T::from_f64(2.5) }),
        ];
        for (name, row) in rows {
            self.one(name, move |x| x.unary(row));
        }
        let n: &[usize] = &[side, side];
        self.add("add", [n, n], Values::Any, |[a, b]| a + b);
        self.add("mul", [n, n], Values::Any, |[a, b]| a * b);
        self.add("maximum", [n, n], Values::Any, |[a, b]| a.maximum(b));
        self.add("div", [n, n], Values::Positive, |[a, b]| a / b);
        self.add("add_row", [n, &[side]], Values::Any, |[a, b]| a + b);
        self.add("mul_column", [n, &[side, 1]], Values::Any, |[a, b]| a * b);
    }

    fn reductions(&mut self) {
        self.one("sum", |x| x.sum());
        self.one("sum_0", |x| x.sum_axes([0], KeepDims::No));
        self.one("sum_1", |x| x.sum_axes([1], KeepDims::No));
        self.one("mean_0", |x| x.mean_axes([0], KeepDims::No));
        self.one("max_1", |x| x.max_axes([1], KeepDims::No));
        self.one("prod_1", |x| x.prod_axes([1], KeepDims::No));
        self.one("logsumexp_1", |x| x.logsumexp_axes([1], KeepDims::No));
        self.one("softmax_1", |x| x.softmax(1));
        self.one("softmax_0", |x| x.softmax(0));
        self.one("log_softmax_1", |x| x.log_softmax(1));
        self.one("var_1", |x| x.var_axes([1], 0, KeepDims::No));
        self.one("norm_1", |x| x.norm_axes([1], KeepDims::No));
        self.one("cumsum_0", |x| x.cumsum(0));
        self.one("cumsum_1", |x| x.cumsum(1));
    }

    fn rearranging(&mut self) {
        let side = self.side;
        let n: &[usize] = &[side, side];
        let index: Vec<usize> = (0..side).map(|i| i * 7919 % side).collect();
        let columns = Array2::from_shape_fn((side, 4), |(i, _)| index[i]);
        let mask = Array2::from_shape_fn((side, 1), |(i, _)| index[i].is_multiple_of(2));
        self.one("transpose_mul", |x| x.transpose() * x);
        self.one("slice_step", |x| x.slice_step(0, .., 2) * T::from_f64(1.5));
        self.one("flip_1", |x| x.flip([1]));
        self.one("pad", |x| x.pad([(1, 1), (1, 1)], T::ZERO));
        self.one("reshape_mul", move |x| x.reshape([side * side]) * T::from_f64(1.5));
        self.one("tril", |x| x.tril(0));
        let rows = index.clone();
        self.one("index_select", move |x| x.index_select(0, &rows));
        self.one("gather", move |x| x.gather(1, &columns));
        self.add("where", [n, n], Values::Any, move |[a, b]| Var::select(&mask, a, b));
        self.add("concat", [n; 4], Values::Any, |parts| Var::concat(&parts, 1));
        self.one("cross_entropy", move |x| x.cross_entropy_labels(&index, Reduction::Mean));
    }

    fn products(&mut self) {
        let side = self.side;
        let (n, v): (&[usize], &[usize]) = (&[side, side], &[side]);
        self.add("matmul", [n, n], Values::Any, |[a, b]| a.matmul(b));
        self.add("matvec", [n, v], Values::Any, |[a, b]| a.matmul(b));
        self.add("outer", [v, v], Values::Any, |[a, b]| a.expand_dims(1) * b);
        self.add("layer_norm", [n, v, v], Values::Any, |[x, gain, bias]| x.layer_norm(gain, bias, epsilon()));
    }

    fn images(&mut self) {
        let images: &[usize] = &[16, 16, 28, 28];
        self.add("conv2d_3x3", [&[16, 3, 32, 32], &[16, 3, 3, 3]], Values::Any, |[x, w]| x.conv2d(w, None, 1, 1));
        self.add("conv2d_5x5", [images, &[32, 16, 5, 5]], Values::Any, |[x, w]| x.conv2d(w, None, 1, 0));
        self.add("max_pool2d", [images], Values::Any, |[x]| x.max_pool2d(2, 2));
        self.add("avg_pool2d", [images], Values::Any, |[x]| x.avg_pool2d(2, 2));
        self.add("batch_norm", [&[64, 16, 14, 14], &[16], &[16]], Values::Any, |[x, gain, bias]| {
            x.batch_norm(gain, bias, epsilon())
        });
        self.add("batched_matmul", [&[64, 32, 32]; 2], Values::Any, |[a, b]| a.matmul(b));
    }

    fn linear_algebra(&mut self) {
        for k in [8, 64, 256] {
            let matrix: &[usize] = &[k, k];
            self.add(format!("inv_{k}"), [matrix], Values::Definite, |[a]| a.inv());
            self.add(format!("det_{k}"), [matrix], Values::Definite, |[a]| a.det());
            self.add(format!("logdet_{k}"), [matrix], Values::Definite, |[a]| a.logdet());
            self.add(format!("cholesky_{k}"), [matrix], Values::Definite, |[a]| a.cholesky());
            self.add(format!("solve_{k}"), [matrix, &[k, 4]], Values::Definite, |[a, b]| a.solve(b));
        }
        self.add("inv_32x8", [&[32, 8, 8]], Values::Definite, |[a]| a.inv());
    }
}

fn epsilon<T: Scalar>() -> T {
    T::from_f64(1e-5)
}
