//! ba: bundle adjustment, from ADBench: the errors of points seen by cameras, and their sparse Jacobian.
//!
//! Observation `i` is of point `i mod m` by camera `i mod n`. An error depends on 15 numbers: 11 of its camera, 3 of its
//! point, and its weight. Each of these is one array over all observations. So one sweep from the sum of an error, over all
//! observations, gives a row of the Jacobian for each.

use ndarray::{Array1, ArrayD};
use serde_json::{Value, json};
use tapegrad::{Outputs, Var};

use crate::input::{Input, expected, limit};
use crate::protocol::{Call, Outcome};

/// How many numbers the errors of an observation depend on: camera, point, weight.
const DEPENDS: usize = 15;
const CAMERA: usize = 11;

type Vector<'t> = [Var<'t, f64>; 3];

fn dot<'t>(a: Vector<'t>, b: Vector<'t>) -> Var<'t, f64> {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross<'t>(a: Vector<'t>, b: Vector<'t>) -> Vector<'t> {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Turns points by Rodrigues' formula.
fn rotate<'t>(r: Vector<'t>, x: Vector<'t>) -> Vector<'t> {
    let mut square = dot(r, r);
    let still = square.min().decide(|least| least == 0.0).then(|| square.value().mapv(|square| square == 0.0));
    // Where there is no rotation, the formula divides by 0. Its limit there is x + r × x.
    let tape = square.tape();
    let limit = |usual, at_0: f64| match &still {
        Some(still) => Var::select(still, tape.constant(at_0), usual),
        None => usual,
    };
    square = limit(square, 1.0);
    let angle = square.sqrt();
    let cos = angle.cos();
    let along = limit((1.0 - cos) / square, 0.0) * dot(r, x);
    let (cos, sin) = (limit(cos, 1.0), limit(angle.sin() / angle, 1.0));
    let across = cross(r, x);
    [0, 1, 2].map(|k| x[k] * cos + across[k] * sin + r[k] * along)
}

/// Returns the two errors of the projections, and the error of the weights.
fn errors<'t>(v: &[Var<'t, f64>; DEPENDS], feature: [Var<'t, f64>; 2]) -> [Var<'t, f64>; 3] {
    let &[r0, r1, r2, c0, c1, c2, focal, p0, p1, k1, k2, x0, x1, x2, w] = v;
    let seen = rotate([r0, r1, r2], [x0 - c0, x1 - c1, x2 - c2]);
    let (u, v) = (seen[0] / seen[2], seen[1] / seen[2]);
    let square = u.square() + v.square();
    let scale = focal * (1.0 + k1 * square + k2 * square.square());
    [w * (u * scale + p0 - feature[0]), w * (v * scale + p1 - feature[1]), 1.0 - w.square()]
}

/// The cameras (11, n), the points (3, m), the weights (p), the features (2, p), as GradBench expands its input.
struct Problem {
    arrays: [ArrayD<f64>; 4],
    n: usize,
    m: usize,
    p: usize,
}

impl Problem {
    fn read(input: Input<'_>) -> Outcome<Self> {
        let [n, m, p] = [input.count("n")?, input.count("m")?, input.count("p")?];
        if n == 0 || m == 0 || p == 0 {
            return Err(expected("n, m, p", "whole numbers from 1", format!("{n}, {m}, {p}")));
        }
        limit("n, m and p together", n as f64 + m as f64 + p as f64, 1e7)?;
        let copies = |numbers: ArrayD<f64>, count: usize| {
            let columns = [numbers.len(), count];
            numbers
                .into_shape_with_order([columns[0], 1])
                .map(|x| x.broadcast(columns).map(|x| x.to_owned().into_dyn()))
        };
        let spread = |name: &str, length: usize, count: usize| {
            let copies = copies(input.shaped(name, &[length])?, count);
            copies.ok().flatten().ok_or_else(|| expected(name, "a list", length))
        };
        let weights = Array1::from_elem(p, input.number("w")?).into_dyn();
        let arrays = [spread("cam", CAMERA, n)?, spread("x", 3, m)?, weights, spread("feat", 2, p)?];
        Ok(Self { arrays, n, m, p })
    }

    /// Returns the 15 arrays that the errors depend on, and the errors.
    fn record<'t>(&self, v: &[Var<'t, f64>]) -> ([Var<'t, f64>; DEPENDS], [Var<'t, f64>; 3]) {
        let row = |x: Var<'t, f64>, k: usize| x.slice(0, k..=k).squeeze(0);
        let of = |count: usize| (0..self.p).map(|i| i % count).collect::<Vec<usize>>();
        let (camera, point) = (v[0].index_select(1, &of(self.n)), v[1].index_select(1, &of(self.m)));
        let depends = std::array::from_fn(|k| match k {
            0..CAMERA => row(camera, k),
            CAMERA..14 => row(point, k - CAMERA),
            _ => v[2],
        });
        (depends, errors(&depends, [row(v[3], 0), row(v[3], 1)]))
    }

    /// Returns the Jacobian from its rows: the derivatives of the two errors of each observation by what they depend on, then
    /// those of the errors of the weights.
    fn assemble(&self, outputs: &Outputs<'_, f64>) -> Sparse {
        let column =
            |k: usize| outputs.value(k).to_slice().expect("an array that a program makes is in standard layout");
        let errors = [0, DEPENDS].map(|first| (first..first + DEPENDS).map(column).collect::<Vec<&[f64]>>());
        let Self { n, m, p, .. } = *self;
        let weight = |i: usize| CAMERA * n + 3 * m + i;
        let mut sparse = Sparse::with_capacity(3 * p, (2 * DEPENDS + 1) * p);
        for i in 0..p {
            let (camera, point) = (CAMERA * (i % n), CAMERA * n + 3 * (i % m));
            for by in &errors {
                sparse.cols.extend((camera..camera + CAMERA).chain(point..point + 3).chain([weight(i)]));
                sparse.vals.extend(by.iter().map(|by| by[i]));
                sparse.rows.push(sparse.cols.len());
            }
        }
        for (i, &slope) in column(2 * DEPENDS).iter().enumerate() {
            sparse.cols.push(weight(i));
            sparse.vals.push(slope);
            sparse.rows.push(sparse.cols.len());
        }
        sparse
    }
}

/// A sparse matrix by rows.
struct Sparse {
    rows: Vec<usize>,
    cols: Vec<usize>,
    vals: Vec<f64>,
}

impl Sparse {
    fn with_capacity(rows: usize, elements: usize) -> Self {
        let mut sparse = Self {
            rows: Vec::with_capacity(rows + 1),
            cols: Vec::with_capacity(elements),
            vals: Vec::with_capacity(elements),
        };
        sparse.rows.push(0);
        sparse
    }
}

pub fn objective(call: &mut Call) -> Outcome {
    let problem = Problem::read(call.input)?;
    let p = problem.p;
    call.compiled(
        &[],
        &problem.arrays.each_ref(),
        |v| problem.record(v).1.to_vec(),
        |outputs| [0, 1, 2].map(|k| outputs.value(k).to_owned()),
        |[u, v, weight]| {
            json!({
                "reproj_error": { "elements": [u[0], v[0]], "repeated": p },
                "w_err": { "element": weight[0], "repeated": p },
            })
        },
    )
}

pub fn jacobian(call: &mut Call) -> Outcome {
    let problem = Problem::read(call.input)?;
    let p = problem.p;
    call.compiled(
        &[],
        &problem.arrays.each_ref(),
        |v| {
            let (depends, [u, v, weight]) = problem.record(v);
            let zeros = u.tape().constant(Array1::zeros(p));
            let rows = [u, v]
                .map(|error| error.sum().grads_or_none(&depends))
                .concat()
                .into_iter()
                .map(|by| by.unwrap_or(zeros));
            rows.chain([weight.sum().grad_wrt(depends[DEPENDS - 1])]).collect()
        },
        |outputs| problem.assemble(outputs),
        |Sparse { rows, cols, vals }| json!({ "rows": shown(&rows), "cols": shown(&cols), "vals": shown(&vals) }),
    )
}

/// Returns the first 30 elements and the last: that is what GradBench compares.
fn shown<T: Copy + Into<Value>>(list: &[T]) -> Value {
    list.iter().take(30).chain(list.last()).copied().map(Into::into).collect()
}
