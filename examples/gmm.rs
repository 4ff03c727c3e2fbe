//! ADBench's Gaussian mixture model: its log-likelihood and gradient, on the tape and by hand.
//!
//! `cargo run --release --example gmm -- FILE [--json]`, or `-- --d 32 --k 25 --n 10000` for data drawn at random.
//!
//! A mixture of `k` Gaussians in `d` dimensions has weights `softmax(α)`, means `μ_k`, and inverse covariances `Q_kᵀ Q_k` with
//! `Q_k` lower-triangular: `exp q_k` on the diagonal, `l_k` below it, column by column. The objective is the logarithm of
//! its likelihood for `n` points, with a Wishart prior of parameters `γ` and `m` (Šrajer, Kukelova, Fitzgibbon 2018):
//!
//! ```text
//! -n d/2 ln 2π + Σ_i lse_k(α_k + Σ q_k - ½ ‖Q_k (x_i - μ_k)‖²) - n lse(α) + Σ_k (½ γ² (‖exp q_k‖² + ‖l_k‖²) - m Σ q_k) - k C
//! C = n' d (ln γ - ½ ln 2) - ln Γ_d(n'/2),  n' = d + m + 1
//! ```
//!
//! On the tape it is one expression over all points and components; by hand it is a loop over points. Both gradients
//! are compared with each other, and the tape's with differences of the objective by `gradcheck`.

mod lesson;

use std::f64::consts::{LN_2, PI};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use lesson::{Outcome, positive};
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use tapegrad::check::{Failure, Options as CheckOptions, Order, Report, gradcheck};
use tapegrad::{KeepDims, Tape, Var};

/// Evaluate and differentiate ADBench's Gaussian mixture objective.
///
/// The file is ADBench's: a line `d k n`; k lines of alpha; k lines of means; k lines of icf, d log-diagonals and then the
/// d(d-1)/2 entries below the diagonal, column by column; n lines of points; a line with gamma and m. Without a file the data
/// are drawn at random.
///
/// Exit codes: 0 done, 1 the file cannot be used, the objective is not finite or a derivative is wrong, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// File in ADBench's format
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Dimensions of points drawn at random [default: 2]
    #[arg(long, value_parser = positive)]
    d: Option<usize>,
    /// Components of a mixture drawn at random [default: 5]
    #[arg(long, value_parser = positive)]
    k: Option<usize>,
    /// Number of points drawn at random [default: 1000]
    #[arg(long, value_parser = positive)]
    n: Option<usize>,
    /// Seed of what is drawn at random [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Write the problem in ADBench's format
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// How often to evaluate each gradient; the fastest counts
    #[arg(long, default_value_t = 3, value_parser = positive)]
    runs: usize,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Returns the size of a problem drawn at random.
    fn size(&self) -> Size {
        Size { d: self.d.unwrap_or(2), k: self.k.unwrap_or(5), n: self.n.unwrap_or(1000) }
    }
}

fn main() -> ExitCode {
    let options: Options = lesson::parse();
    let drawn = [options.d, options.k, options.n].iter().any(Option::is_some) || options.seed.is_some();
    let refused = match &options.file {
        Some(file) if drawn => Err(format!("FILE {} and --d, --k, --n or --seed exclude each other", file.display())),
        Some(_) => Ok(()),
        None => options.size().check().map_err(|error| format!("--d, --k, --n: {error}")),
    };
    if let Err(error) = refused {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    lesson::exit(run(&options))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(options.save.as_ref())?;
    let problem = match &options.file {
        Some(path) => Problem::read(path)?,
        None => Problem::draw(options.size(), options.seed.unwrap_or(0)),
    };
    if let Some(path) = &options.save {
        std::fs::write(path, problem.to_string()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let Size { d, k, n } = problem.size;
    println!("{n} points in {d} dimensions, {k} components, {} parameters", problem.parameters.count());

    let mut tape = Tape::new();
    let mut on_tape = || {
        tape.reset();
        let start = Instant::now();
        let result = problem.on_tape(&tape);
        (result, start.elapsed(), tape.len())
    };
    let ((objective, gradient), mut time, nodes) = on_tape();
    for _ in 1..options.runs {
        time = time.min(on_tape().1);
    }
    if !objective.is_finite() || gradient.iter().any(|g| !g.is_finite()) {
        let found = tape.first_non_finite().map_or_else(String::new, |found| found.to_string().replace('\n', ";"));
        return Err(format!("the objective or its gradient is not finite: {found}").into());
    }
    let (mut by_hand, mut time_by_hand) = ((0.0, Vec::new()), None);
    for _ in 0..options.runs {
        let start = Instant::now();
        by_hand = problem.by_hand();
        let elapsed = start.elapsed();
        time_by_hand = Some(time_by_hand.map_or(elapsed, |time: std::time::Duration| time.min(elapsed)));
    }
    let time_by_hand = time_by_hand.unwrap_or_default();

    println!("objective {objective:.17e}");
    let (time, time_by_hand) = (time.as_secs_f64(), time_by_hand.as_secs_f64());
    println!("objective and gradient on the tape {:.1} us, {nodes} nodes", 1e6 * time);
    println!(
        "objective and gradient by hand     {:.1} us, {:.2} times the tape's",
        1e6 * time_by_hand,
        time_by_hand / time
    );
    let scale = gradient.iter().fold(1.0, |scale: f64, g| scale.max(g.abs()));
    let worst = gradient.iter().zip(&by_hand.1).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max);
    let objectives = (objective - by_hand.0).abs() / objective.abs().max(1.0);
    println!(
        "tape and hand differ by {objectives:.1e} in the objective, by {worst:.1e} of the largest element in the gradient"
    );
    println!("{}", problem.check()?);
    if options.json {
        println!("{{\"objective\":{},\"gradient\":{}}}", serde_json::json!(objective), serde_json::json!(gradient));
    }
    Ok(())
}

/// How large a problem is.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Dimensions.
    d: usize,
    /// Components.
    k: usize,
    /// Points.
    n: usize,
}

impl Size {
    /// Returns how many elements a matrix has on and below the diagonal.
    fn triangle(self) -> usize {
        self.d * (self.d + 1) / 2
    }

    /// Refuses what no memory would hold: all points are mapped by all components at once.
    fn check(self) -> Result<(), String> {
        let Self { d, k, n } = self;
        let mapped = (n + d) as f64 * k as f64 * d as f64;
        if mapped <= 5e8 {
            return Ok(());
        }
        Err(format!(
            "expected k (n + d) d of at most 5e8, found {mapped:.1e} for {k} components, {n} points, {d} dimensions"
        ))
    }
}

/// What the objective is differentiated by.
#[derive(Debug)]
struct Parameters {
    /// Logarithms of the weights, up to a constant: `(k)`.
    alphas: Array1<f64>,
    /// Means: `(k, d)`.
    means: Array2<f64>,
    /// Roots of the inverse covariances, `q` and then `l`: `(k, d (d + 1) / 2)`.
    icf: Array2<f64>,
}

impl Parameters {
    fn count(&self) -> usize {
        self.alphas.len() + self.means.len() + self.icf.len()
    }
}

/// A mixture, and the points that it is to explain.
struct Problem {
    size: Size,
    parameters: Parameters,
    /// Points: `(n, d)`.
    points: Array2<f64>,
    /// Points with a column of ones: `(n, d + 1)`.
    points_and_one: Arc<Array2<f64>>,
    gamma: f64,
    m: f64,
    /// Where each element of all `Q_k` is found in a row `exp q, l, 0`.
    layout: Vec<usize>,
}

impl Problem {
    fn new(parameters: Parameters, points: Array2<f64>, gamma: f64, m: f64) -> Self {
        let ((n, d), k) = (points.dim(), parameters.alphas.len());
        let size = Size { d, k, n };
        let points_and_one = concatenate![Axis(1), points, Array2::ones((n, 1))];
        let mut layout = vec![size.triangle(); d * d];
        let mut below = d;
        for column in 0..d {
            layout[column * d + column] = column;
            for row in column + 1..d {
                layout[row * d + column] = below;
                below += 1;
            }
        }
        Self { size, parameters, points, points_and_one: Arc::new(points_and_one), gamma, m, layout }
    }

    /// Returns a problem drawn at random.
    fn draw(size: Size, seed: u64) -> Self {
        let Size { d, k, n } = size;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut normal = || rng.sample::<f64, _>(StandardNormal);
        let alphas = Array1::from_shape_simple_fn(k, &mut normal);
        let means = Array2::from_shape_simple_fn((k, d), || 0.5 + 0.3 * normal());
        let mut normal = || rng.sample::<f64, _>(StandardNormal);
        let icf = Array2::from_shape_simple_fn((k, size.triangle()), &mut normal);
        let points = Array2::from_shape_simple_fn((n, d), &mut normal);
        Self::new(Parameters { alphas, means, icf }, points, 1.0, 0.0)
    }

    /// Reads a file in ADBench's format.
    fn read(path: &Path) -> Outcome<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}, {error}", path.display()).into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Lines { lines: text.lines().enumerate(), last: 0 };
        let sizes = lines.numbers(3, "three whole numbers d k n from 1")?;
        let whole = |x: f64| if (1.0..1e9).contains(&x) && x.fract() == 0.0 { Some(x as usize) } else { None };
        let (Some(d), Some(k), Some(n)) = (whole(sizes[0]), whole(sizes[1]), whole(sizes[2])) else {
            return Err(format!("line 1: expected three whole numbers d k n from 1, found {sizes:?}"));
        };
        // No memory is asked for before there are numbers to fill it: the sizes may be wrong.
        let triangle = d.checked_mul(d + 1).ok_or("line 1: d is too large")? / 2;
        let alphas = lines.matrix(k, 1, "an alpha")?;
        let means = lines.matrix(k, d, "a mean")?;
        let icf = lines.matrix(k, triangle, "the root of an inverse covariance")?;
        let points = lines.matrix(n, d, "a point")?;
        let prior = lines.numbers(2, "gamma and m")?;
        let (gamma, m) = (prior[0], prior[1]);
        if gamma <= 0.0 || m < 0.0 || m.fract() != 0.0 {
            let line = lines.last;
            return Err(format!("line {line}: expected gamma above 0 and a whole number m from 0, found {gamma} {m}"));
        }
        if let Some((line, rest)) = lines.lines.find(|(_, line)| !line.trim().is_empty()) {
            return Err(format!("line {}: expected the end of the file, found {:?}", line + 1, shortened(rest)));
        }
        let alphas = alphas.flatten().into_owned();
        Size { d, k, n }.check().map_err(|error| format!("line 1: {error}"))?;
        Ok(Self::new(Parameters { alphas, means, icf }, points, gamma, m))
    }

    /// The part of the objective that does not depend on parameters.
    fn constant(&self) -> f64 {
        let Size { d, k, n } = self.size;
        let (d, k, n) = (d as f64, k as f64, n as f64);
        let freedom = d + self.m + 1.0;
        let wishart = freedom * d * (self.gamma.ln() - 0.5 * LN_2) - ln_gamma_of_matrix(0.5 * freedom, self.size.d);
        -n * d * 0.5 * (2.0 * PI).ln() - k * wishart
    }

    /// Returns objective and gradient, in the order of the file, from the tape.
    fn on_tape(&self, tape: &Tape<f64>) -> (f64, Vec<f64>) {
        let Parameters { alphas, means, icf } = &self.parameters;
        let [alphas, means, icf] = [tape.leaf(alphas), tape.leaf(means), tape.leaf(icf)];
        let objective = self.record(tape, alphas, means, icf);
        objective.backward();
        let grads = [alphas, means, icf].map(|x| x.grad().expect("the objective depends on all parameters"));
        (objective.item(), grads.iter().flatten().copied().collect())
    }

    fn record<'t>(
        &self,
        tape: &'t Tape<f64>,
        alphas: Var<'t, f64>,
        means: Var<'t, f64>,
        icf: Var<'t, f64>,
    ) -> Var<'t, f64> {
        let Size { d, k, n } = self.size;
        let (q, l) = (icf.slice(1, ..d), icf.slice(1, d..));
        let (diagonal, sum_q) = (q.exp(), q.sum_axes([1], KeepDims::No));
        let roots = Var::concat(&[diagonal, l, tape.constant(Array2::zeros((k, 1)))], 1);
        let roots = roots.index_select(1, &self.layout).reshape([k, d, d]);

        // Q (x - μ) for all points and components is one product: [x 1] [Q  -Qμ]ᵀ.
        let offsets = -(roots * means.reshape([k, 1, d])).sum_axes([2], KeepDims::Yes);
        let maps = Var::concat(&[roots, offsets], 2).reshape([k * d, d + 1]);
        let whitened = tape.constant(&self.points_and_one).matmul(maps.transpose());
        let distances = whitened.square().reshape([n, k, d]).sum_axes([2], KeepDims::No);
        let fit = (alphas + sum_q - 0.5 * distances).logsumexp_axes([1], KeepDims::No).sum();

        let weights = alphas.logsumexp() * n as f64;
        let norms = diagonal.square().sum() + l.square().sum();
        let prior = norms * (0.5 * self.gamma * self.gamma) - sum_q.sum() * self.m;
        fit - weights + prior + self.constant()
    }

    /// Returns objective and gradient by the formulas, point by point: the same work as ADBench's own hand-written one.
    fn by_hand(&self) -> (f64, Vec<f64>) {
        let Size { d, k, n } = self.size;
        let Parameters { alphas, means, icf } = &self.parameters;
        let (alphas, means, icf) = (slice(alphas.as_slice()), slice(means.as_slice()), slice(icf.as_slice()));
        let triangle = self.size.triangle();
        let mut gradient = vec![0.0; self.parameters.count()];
        let (d_alphas, rest) = gradient.split_at_mut(k);
        let (d_means, d_icf) = rest.split_at_mut(k * d);

        let exp_q: Vec<f64> = (0..k).flat_map(|c| icf[c * triangle..][..d].iter().map(|q| q.exp())).collect();
        let sum_q: Vec<f64> = (0..k).map(|c| icf[c * triangle..][..d].iter().sum()).collect();
        let mut centered = vec![0.0; k * d];
        let mut whitened = vec![0.0; k * d];
        let mut terms = vec![0.0; k];
        let mut pulled = vec![0.0; d];
        let mut objective = self.constant();
        for point in slice(self.points.as_slice()).chunks_exact(d) {
            for c in 0..k {
                let (z, y) = (&mut centered[c * d..][..d], &mut whitened[c * d..][..d]);
                for j in 0..d {
                    z[j] = point[j] - means[c * d + j];
                    y[j] = exp_q[c * d + j] * z[j];
                }
                let mut l = &icf[c * triangle + d..(c + 1) * triangle];
                for j in 0..d {
                    let (column, rest) = l.split_at(d - j - 1);
                    y[j + 1..].iter_mut().zip(column).for_each(|(y, l)| *y += l * z[j]);
                    l = rest;
                }
                terms[c] = alphas[c] + sum_q[c] - 0.5 * y.iter().map(|y| y * y).sum::<f64>();
            }
            objective += softmax_in_place(&mut terms);
            for c in 0..k {
                let weight = terms[c];
                let (z, y) = (&centered[c * d..][..d], &whitened[c * d..][..d]);
                d_alphas[c] += weight;
                let d_icf = &mut d_icf[c * triangle..][..triangle];
                let (d_q, mut d_l) = d_icf.split_at_mut(d);
                let mut l = &icf[c * triangle + d..(c + 1) * triangle];
                for j in 0..d {
                    d_q[j] += weight * (1.0 - y[j] * exp_q[c * d + j] * z[j]);
                    let (d_column, d_rest) = d_l.split_at_mut(d - j - 1);
                    let (column, rest) = l.split_at(d - j - 1);
                    let below = &y[j + 1..];
                    let scale = weight * z[j];
                    d_column.iter_mut().zip(below).for_each(|(d_l, y)| *d_l -= scale * y);
                    let dot: f64 = column.iter().zip(below).map(|(l, y)| l * y).sum();
                    pulled[j] = exp_q[c * d + j] * y[j] + dot;
                    (d_l, l) = (d_rest, rest);
                }
                d_means[c * d..][..d].iter_mut().zip(&pulled).for_each(|(d_mean, p)| *d_mean += weight * p);
            }
        }

        let mut weights = alphas.to_vec();
        objective -= n as f64 * softmax_in_place(&mut weights);
        d_alphas.iter_mut().zip(&weights).for_each(|(d_alpha, weight)| *d_alpha -= n as f64 * weight);
        let gamma_squared = self.gamma * self.gamma;
        for c in 0..k {
            for j in 0..triangle {
                let position = c * triangle + j;
                let (x, slope) = if j < d { (exp_q[c * d + j], exp_q[c * d + j]) } else { (icf[position], 1.0) };
                objective += 0.5 * gamma_squared * x * x;
                d_icf[position] += gamma_squared * x * slope - if j < d { self.m } else { 0.0 };
            }
            objective -= self.m * sum_q[c];
        }
        (objective, gradient)
    }

    /// Checks the tape's derivatives against differences of the objective.
    fn check(&self) -> Result<Report, Failure> {
        let Parameters { alphas, means, icf } = &self.parameters;
        let inputs = [alphas.clone().into_dyn(), means.clone().into_dyn(), icf.clone().into_dyn()];
        let options = CheckOptions::new().with_order(Order::First).with_directions(1);
        gradcheck(|x| self.record(x[0].tape(), x[0], x[1], x[2]), &inputs, &options)
    }
}

/// Writes the problem in ADBench's format; reading it gives the same numbers.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Size { d, k, n } = self.size;
        let Parameters { alphas, means, icf } = &self.parameters;
        writeln!(f, "{d} {k} {n}")?;
        let rows = alphas.view().insert_axis(Axis(1));
        for row in rows.rows().into_iter().chain(means.rows()).chain(icf.rows()).chain(self.points.rows()) {
            let mut line = String::new();
            for x in row {
                write!(line, "{x} ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "{} {}", self.gamma, self.m)
    }
}

/// The lines of a file, with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    /// The number of the line that was read last, from 1.
    last: usize,
}

impl Lines<'_> {
    /// Returns the numbers of the next line.
    fn numbers(&mut self, count: usize, what: &str) -> Result<Vec<f64>, String> {
        let Some((index, line)) = self.lines.next() else {
            return Err(format!("line {}: expected {what}, found the end of the file", self.last + 1));
        };
        self.last = index + 1;
        let mut numbers = Vec::new();
        for word in line.split_whitespace() {
            match word.parse() {
                Ok(number) if f64::is_finite(number) => numbers.push(number),
                _ => return Err(format!("line {}: expected a finite number, found {:?}", self.last, shortened(word))),
            }
        }
        if numbers.len() != count {
            let found = numbers.len();
            return Err(format!("line {}: expected {what}, {count} in number, found {found}", self.last));
        }
        Ok(numbers)
    }

    /// Returns the numbers of the next lines.
    fn matrix(&mut self, rows: usize, columns: usize, what: &str) -> Result<Array2<f64>, String> {
        let mut numbers = Vec::new();
        for _ in 0..rows {
            numbers.extend(self.numbers(columns, what)?);
        }
        Array2::from_shape_vec((rows, columns), numbers).map_err(|error| error.to_string())
    }
}

/// Returns the beginning of a text that is not to fill the screen.
fn shortened(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

/// Turns numbers into their softmax and returns `ln Σ e^x`.
fn softmax_in_place(x: &mut [f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    x.iter_mut().for_each(|x| *x = (*x - max).exp());
    let total: f64 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= total);
    max + total.ln()
}

fn slice(elements: Option<&[f64]>) -> &[f64] {
    elements.expect("all arrays are in standard layout")
}

/// Returns `ln Γ_d(x)`, the logarithm of the gamma function of d×d matrices.
fn ln_gamma_of_matrix(x: f64, d: usize) -> f64 {
    let pairs = (d * (d - 1)) as f64;
    0.25 * pairs * PI.ln() + (0..d).map(|j| ln_gamma(x - 0.5 * j as f64)).sum::<f64>()
}

/// Returns `ln Γ(x)` for `x > 0`: Stirling's series, which is exact to rounding from 10 on, after `Γ(x) = Γ(x + 1) / x` has led
/// there.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let terms = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    let series = terms.iter().rev().fold(0.0, |sum, term| sum * y + term) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - product.ln()
}
