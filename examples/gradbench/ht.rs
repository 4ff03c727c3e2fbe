//! ht: hand tracking, from ADBench: the distances between the points of a scan and the places on a hand that they belong to.
//!
//! The hand is 22 bones and a skin. `theta` has 26 numbers: how the hand is turned and moved, and how each finger is bent. A
//! vertex of the skin is a weighted sum over bones, so all places are one product of matrices, `skin · bones`. What turns and moves the whole hand acts on the bones, which are fewer.
//!
//! The Jacobian has 26 columns for `theta`. They are computed together, forward: `theta` is a matrix with 26 equal rows, and
//! row `i` moves along the unit vector `i`.

use ndarray::{Array2, ArrayD, arr1, array};
use tapegrad::{KeepDims, Var};

use crate::input::{Input, expected};
use crate::protocol::{Call, Outcome};

const THETA: usize = 26;
/// Rows of the pose before those of the bones.
const GLOBAL: usize = 3;
const FINGERS: usize = 5;

/// A hand, and the points of a scan. What is in `arrays` can be another in each run; the recording depends on the rest.
struct Problem {
    /// `theta` (26), the places in the triangles (points, 2), the points (points, 3); of the model the positions of the bones
    /// relative to their parents (bones, 4, 4), the inverses of the absolute positions at rest (bones, 4, 4), the vertices at
    /// rest (vertices, 4) and their weights (vertices, bones).
    arrays: [ArrayD<f64>; 7],
    /// The parents of the bones: earlier ones, or none.
    parents: Vec<Option<usize>>,
    /// The corners of each point's triangle; in the simple problem one vertex.
    corners: Vec<Vec<usize>>,
    is_mirrored: bool,
}

impl Problem {
    fn read(input: Input<'_>) -> Outcome<Self> {
        let (data, us) = (input.object("data")?, input.array("us", 2)?);
        let model = data.object("model")?;
        let bones = model.count("bone_count")?;
        let parents: Vec<Option<usize>> = model
            .array("parents", 1)?
            .iter()
            .enumerate()
            .map(|(bone, &parent)| match parent {
                -1.0 => Ok(None),
                _ if parent >= 0.0 && parent.fract() == 0.0 && parent < bone as f64 => Ok(Some(parent as usize)),
                _ => Err(expected("parents", "-1 or an earlier bone", parent)),
            })
            .collect::<Outcome<_>>()?;
        if parents.len() != bones || bones < 1 + 4 * FINGERS {
            return Err(expected("parents", "a list of bone_count bones, 21 or more", parents.len()));
        }
        let base = model.array("base_positions", 2)?;
        let vertices = base.shape()[0];
        let triangles = model.indices("triangles", 2, vertices)?;
        if triangles.len() % 3 != 0 {
            return Err(expected("triangles", "three corners each", triangles.len()));
        }
        let simple = us.is_empty();
        let limit = if simple { vertices } else { triangles.len() / 3 };
        let of = data.indices("correspondences", 1, limit)?;
        let points = of.len();
        if points == 0 {
            return Err(expected("correspondences", "at least one", points));
        }
        let corners = if simple {
            vec![of]
        } else {
            (0..3).map(|corner| of.iter().map(|triangle| triangles[3 * triangle + corner]).collect()).collect()
        };
        Ok(Self {
            arrays: [
                input.shaped("theta", &[THETA])?,
                if simple { us } else { input.shaped("us", &[points, 2])? },
                data.shaped("points", &[points, 3])?,
                model.shaped("base_relatives", &[bones, 4, 4])?,
                model.shaped("inverse_base_absolutes", &[bones, 4, 4])?,
                model.shaped("base_positions", &[vertices, 4])?,
                model.shaped("weights", &[vertices, bones])?,
            ],
            parents,
            corners,
            is_mirrored: model.boolean("is_mirrored")?,
        })
    }

    /// Returns what a recording depends on besides the arrays.
    fn key(&self) -> Vec<usize> {
        let parents = self.parents.iter().map(|parent| parent.map_or(0, |parent| parent + 1));
        parents.chain(self.corners.iter().flatten().copied()).chain([usize::from(self.is_mirrored)]).collect()
    }

    fn is_simple(&self) -> bool {
        self.corners.len() == 1
    }

    /// Returns the errors for each row of `theta`: (points, 3, rows).
    fn errors<'t>(&self, theta: Var<'t, f64>, v: &[Var<'t, f64>]) -> Var<'t, f64> {
        let (pose, points, rows) = (pose(theta, self.parents.len() + GLOBAL), v[2].shape()[0], theta.shape()[0]);
        let row = |k: usize| pose.slice(1, k..=k).squeeze(1);
        let mut world = turn(row(0)) * row(1).expand_dims(1);
        if self.is_mirrored {
            world *= theta.tape().constant(arr1(&[-1.0, 1.0, 1.0]));
        }
        let bones = world.matmul(self.bones(pose, v[3])).swapaxes(0, 1).reshape([3 * rows, 4 * self.parents.len()]);
        let places = self.skin(v).matmul(bones.transpose()).reshape([points, 3, rows]);
        v[2].expand_dims(2) - (places + row(2).transpose())
    }

    /// Returns how the place of each point depends on the bones: (points, 4 bones).
    fn skin<'t>(&self, v: &[Var<'t, f64>]) -> Var<'t, f64> {
        let &[_, us, points, _, inverse, base, weights] = v else { panic!("ht has seven inputs") };
        let (points, bones) = (points.shape()[0], self.parents.len());
        // A vertex at rest, as each bone sees it.
        let seen = base.matmul(inverse.reshape([4 * bones, 4]).transpose()).reshape([base.shape()[0], bones, 4]);
        let vertices = (weights.expand_dims(2) * seen).reshape([base.shape()[0], 4 * bones]);
        let corner: Vec<Var<'t, f64>> = self.corners.iter().map(|corner| vertices.index_select(0, corner)).collect();
        if self.is_simple() {
            return corner[0];
        }
        let [u, v] = [0, 1].map(|k| us.slice(1, k..=k));
        debug_assert_eq!(*u.shape(), [points, 1]);
        u * corner[0] + v * corner[1] + (1.0 - u - v) * corner[2]
    }

    /// Returns the positions of all bones for each row of poses: (rows, 3, 4 bones).
    fn bones<'t>(&self, pose: Var<'t, f64>, relatives: Var<'t, f64>) -> Var<'t, f64> {
        let (rows, bones) = (pose.shape()[0], self.parents.len());
        let turns = pose.slice(1, GLOBAL..);
        let angle = |k: usize| turns.slice(2, k..=k).squeeze(2);
        let local = relatives.matmul(euler(angle(0), angle(2), angle(1)));
        let mut absolutes: Vec<Var<'t, f64>> = Vec::with_capacity(bones);
        for (bone, parent) in self.parents.iter().enumerate() {
            let local = local.slice(1, bone..=bone).squeeze(1);
            absolutes.push(parent.map_or(local, |parent: usize| absolutes[parent].matmul(local)));
        }
        let upper: Vec<Var<'t, f64>> = absolutes.iter().map(|absolute| absolute.slice(1, ..3)).collect();
        debug_assert_eq!(*upper[0].shape(), [rows, 3, 4]);
        Var::concat(&upper, 2)
    }
}

/// Returns the pose of each row of `theta`: (rows, pose rows, 3).
fn pose(theta: Var<'_, f64>, length: usize) -> Var<'_, f64> {
    let (zero, one) = (THETA, THETA + 1);
    let mut from = vec![zero; 3 * length];
    from[..9].copy_from_slice(&[0, 1, 2, one, one, one, 3, 4, 5]);
    let mut next = 6;
    for finger in 0..FINGERS {
        let knuckle = 3 * (5 + 4 * finger);
        [knuckle, knuckle + 1, knuckle + 3, knuckle + 6].iter().zip(next..).for_each(|(&at, k)| from[at] = k);
        next += 4;
    }
    let rows = theta.shape()[0];
    let ends = theta.tape().constant(Array2::from_shape_fn((rows, 2), |(_, k)| k as f64));
    Var::concat(&[theta, ends], 1).index_select(1, &from).reshape([rows, length, 3])
}

/// Returns 4×4 matrices `Rz Ry Rx`: (rows, bones, 4, 4).
fn euler<'t>(x: Var<'t, f64>, y: Var<'t, f64>, z: Var<'t, f64>) -> Var<'t, f64> {
    let [(sx, cx), (sy, cy), (sz, cz)] = [x, y, z].map(|angle| (angle.sin(), angle.cos()));
    let (shape, tape) = (x.shape(), x.tape());
    let [zero, one] = [0.0, 1.0].map(|number| tape.constant(ArrayD::from_elem(&*shape, number)));
    let elements = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, zero],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx, zero],
        [-sy, cy * sx, cy * cx, zero],
        [zero, zero, zero, one],
    ];
    Var::stack(&elements.concat(), 2).reshape([shape[0], shape[1], 4, 4])
}

/// Returns the rotations about the axes `r`, by their lengths: (rows, 3) -> (rows, 3, 3).
fn turn(r: Var<'_, f64>) -> Var<'_, f64> {
    let (tape, rows) = (r.tape(), r.shape()[0]);
    let angle = r.norm_axes([1], KeepDims::Yes);
    if angle.min().decide(|least| least < 1e-4) {
        return tape.constant(Array2::eye(3)).broadcast_to([rows, 3, 3]);
    }
    let axis = r / angle;
    let [x, y, z] = [0, 1, 2].map(|k| axis.slice(1, k..=k));
    let zero = tape.constant(Array2::zeros((rows, 1)));
    let cross = Var::concat(&[zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape([rows, 3, 3]);
    let [sin, cos] = [angle.sin(), angle.cos()].map(|x| x.expand_dims(2));
    let along = axis.expand_dims(2) * axis.expand_dims(1);
    tape.constant(Array2::eye(3)) * cos + cross * sin + along * (1.0 - cos)
}

pub fn objective(call: &mut Call) -> Outcome {
    let problem = Problem::read(call.input)?;
    call.value(&problem.key(), &problem.arrays.each_ref(), |v| {
        let errors = problem.errors(v[0].reshape([1, THETA]), v);
        errors.reshape([errors.shape().elements()])
    })
}

/// The Jacobian is (3 points, 26), or with the two columns of the point's own `us` before them (3 points, 28).
pub fn jacobian(call: &mut Call) -> Outcome {
    let problem = Problem::read(call.input)?;
    call.value(&problem.key(), &problem.arrays.each_ref(), |v| {
        let (tape, us, points) = (v[0].tape(), v[1], v[2].shape()[0]);
        let mut columns = Vec::new();
        if !problem.is_simple() {
            let errors = problem.errors(v[0].reshape([1, THETA]), v);
            let along = [array![1.0, 0.0], array![0.0, 1.0]].map(|unit| tape.constant(unit).broadcast_to(us.shape()));
            columns.extend(along.map(|along| errors.jvp(&[us], &[along])));
        }
        let thetas = v[0].broadcast_to([THETA, THETA]);
        columns.push(problem.errors(thetas, v).jvp(&[thetas], &[tape.constant(Array2::eye(THETA))]));
        let columns = Var::concat(&columns, 2);
        columns.reshape([3 * points, columns.shape()[2]])
    })
}
