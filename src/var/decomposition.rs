//! Methods of [`Var`] for decompositions of matrices: eigenvalues, QR, singular values.
//!
//! Each is a custom operation. Its result holds the factors of a matrix one after the other, as one vector; the method takes
//! them apart. The kernels compute in double precision.

use std::sync::Arc;

use ndarray::{Array2, ArrayViewD, ArrayViewMutD};

use crate::kernel::linalg;
use crate::op::{Linear, not_matrices, not_square};
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError};
use crate::tape::{CustomOp, Var};

/// Decompositions. The last two axes are matrices; axes before them are a batch.
///
/// They are there with the feature `decompositions`. `nalgebra` computes them in double precision, for `f32` too. A matrix
/// with an infinity or a NaN gives NaN in all factors, and so does one whose iteration does not end.
///
/// # Where derivatives end
///
/// Derivatives exist to any order where the factors are smooth functions of the matrix. A gradient is infinite or NaN
///
/// - if two eigenvalues or singular values are equal, and the loss changes when their vectors are rotated into each other;
/// - if a singular value of a matrix that is not square is 0, and the loss depends on its vectors;
/// - if it goes through [`qr`](Self::qr) and the first `min(m, n)` columns of the matrix are linearly dependent.
///
/// In the first two cases, a loss of the values alone has the right first derivative. Its second derivative is infinite or
/// NaN, except in directions that do not mix these vectors.
#[cfg_attr(docsrs, doc(cfg(feature = "decompositions")))]
impl<T: Scalar> Var<'_, T> {
    /// Returns the eigenvalues of a symmetric matrix in ascending order, and the eigenvectors as the columns of an orthogonal
    /// matrix `v`: `a = v diag(values) vᵀ`.
    ///
    /// If the matrix is not symmetric, its symmetric part `(a + aᵀ) / 2` is decomposed. In each eigenvector the element of
    /// the largest magnitude is positive; of several elements within a tenth of it, the first. Where eigenvalues are equal,
    /// their vectors are one choice of many.
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (.., n), (.., n, n)`
    ///
    /// # Derivative
    ///
    /// `v (diag(g_values) + P) vᵀ` (Giles 2008, 3.1), where `g_v` is the cotangent of the vectors and `P` is the antisymmetric
    /// part of `vᵀ g_v` with each element `(i, j)` divided by `values[j] - values[i]`. Elements that are 0 stay 0, for
    /// equal eigenvalues too. Without symmetry, this is the derivative by the symmetric part.
    ///
    /// # Panics
    ///
    /// If the matrices are not square.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[2.0, 1.0], [1.0, 2.0]]);
    /// let (values, vectors) = a.eigh();
    /// let close = |x: f64, y: f64| (x - y).abs() < 1e-14;
    /// assert!(close(values.value()[0], 1.0) && close(values.value()[1], 3.0));
    /// assert!(close(vectors.value()[[0, 0]], 0.5_f64.sqrt()) && close(vectors.value()[[1, 0]], -0.5_f64.sqrt()));
    /// // The derivative of an eigenvalue is v vᵀ with its eigenvector v.
    /// values.slice(0, 0..1).sum().backward();
    /// assert!(a.grad().unwrap().iter().zip([0.5, -0.5, -0.5, 0.5]).all(|(&g, expected)| close(g, expected)));
    /// ```
    #[doc(alias = "linalg_eigh")]
    #[track_caller]
    #[must_use]
    pub fn eigh(self) -> (Self, Self) {
        let [values, vectors] = self.decomposed(Eigh, eigh_factors);
        (values, vectors)
    }

    /// Returns the eigenvalues of a symmetric matrix in ascending order: the first result of [`eigh`](Self::eigh).
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (.., n)`
    ///
    /// # Derivative
    ///
    /// `v diag(g) vᵀ` with the eigenvectors `v`, at equal eigenvalues too.
    ///
    /// # Panics
    ///
    /// If the matrices are not square.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[3.0, 0.0], [0.0, 3.0]]); // twice the eigenvalue 3
    /// let values = a.eigvalsh();
    /// values.square().sum().backward();
    /// assert_eq!(values.value(), array![3.0, 3.0].into_dyn());
    /// assert_eq!(a.grad().unwrap(), array![[6.0, 0.0], [0.0, 6.0]].into_dyn()); // 2 a
    /// ```
    #[doc(alias = "linalg_eigvalsh")]
    #[track_caller]
    #[must_use]
    pub fn eigvalsh(self) -> Self {
        let [values, _] = self.decomposed(Eigh, eigh_factors);
        values
    }

    /// Returns the reduced QR decomposition `a = q r`: `q` has orthonormal columns, `r` is upper triangular.
    ///
    /// No element on the diagonal of `r` is negative. LAPACK, and so NumPy and PyTorch, leave the signs to the algorithm:
    /// there a column of `q` and the row of `r` with the same number may both have the other sign.
    ///
    /// # Shapes
    ///
    /// `(.., m, n) -> (.., m, k), (.., k, n)` with `k = min(m, n)`
    ///
    /// # Derivative
    ///
    /// For `m >= n` it is `(g_q + q C) r⁻ᵀ` (Walter and Lehmann 2010), where `C` is the symmetric matrix with the lower
    /// triangle of `r g_rᵀ - g_qᵀ q`. For `m < n`, this gives the cotangent of the first `m` columns. The others are `qᵀ`
    /// times the other columns of `a`, and their cotangents follow.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[3.0, 1.0], [4.0, 2.0]]);
    /// let (q, r) = a.qr();
    /// let close = |x: f64, y: f64| (x - y).abs() < 1e-14;
    /// assert!(q.value().iter().zip([0.6, -0.8, 0.8, 0.6]).all(|(&q, expected)| close(q, expected)));
    /// assert!(r.value().iter().zip([5.0, 2.2, 0.0, 0.4]).all(|(&r, expected)| close(r, expected)));
    /// // 5 is the length of the first column.
    /// r.slice(0, 0..1).slice(1, 0..1).sum().backward();
    /// assert!(a.grad().unwrap().iter().zip([0.6, 0.0, 0.8, 0.0]).all(|(&g, expected)| close(g, expected)));
    /// ```
    #[doc(alias = "linalg_qr")]
    #[track_caller]
    #[must_use]
    pub fn qr(self) -> (Self, Self) {
        let [q, r] = self.decomposed(Qr, qr_factors);
        (q, r)
    }

    /// Returns the reduced singular value decomposition `a = u diag(values) vᵀ`: `u`, the values and `vᵀ`. The columns of
    /// `u` and of `v` are orthonormal, and the values descend and are not negative.
    ///
    /// In each column of `u` the element of the largest magnitude is positive; of several elements within a tenth of it, the
    /// first. Where singular values are equal, their vectors are one choice of many, and so are those of the value 0.
    ///
    /// # Shapes
    ///
    /// `(.., m, n) -> (.., m, k), (.., k), (.., k, n)` with `k = min(m, n)`
    ///
    /// # Derivative
    ///
    /// `u (diag(g_values) + (A s + s B)) vᵀ + (1 - u uᵀ) g_u s⁻¹ vᵀ + u s⁻¹ g_vᵀ (1 - v vᵀ)` with `s = diag(values)`
    /// (Townsend 2016). `A` and `B` are `uᵀ g_u` and `vᵀ g_v`, each minus its transpose, with each element `(i, j)` divided
    /// by `values[j]² - values[i]²`. Elements that are 0 stay 0, for equal singular values and for the value 0 too.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[0.0, 2.0], [-3.0, 0.0]]);
    /// let (u, values, v_t) = a.svd();
    /// let close = |x: f64, y: f64| (x - y).abs() < 1e-14;
    /// assert!(values.value().iter().zip([3.0, 2.0]).all(|(&x, expected)| close(x, expected)));
    /// assert!(u.value().iter().zip([0.0, 1.0, 1.0, 0.0]).all(|(&x, expected)| close(x, expected)));
    /// assert!(v_t.value().iter().zip([-1.0, 0.0, 0.0, 1.0]).all(|(&x, expected)| close(x, expected)));
    /// // The sum of the singular values has the gradient u vᵀ.
    /// values.sum().backward();
    /// assert!(a.grad().unwrap().iter().zip([0.0, 1.0, -1.0, 0.0]).all(|(&g, expected)| close(g, expected)));
    /// ```
    #[doc(alias = "linalg_svd")]
    #[track_caller]
    #[must_use]
    pub fn svd(self) -> (Self, Self, Self) {
        let [u, values, v_t] = self.decomposed(Svd, svd_factors);
        (u, values, v_t)
    }

    /// Returns the singular values of a matrix in descending order: the second result of [`svd`](Self::svd).
    ///
    /// # Shapes
    ///
    /// `(.., m, n) -> (.., min(m, n))`
    ///
    /// # Derivative
    ///
    /// `u diag(g) vᵀ` with the singular vectors, at equal singular values and at 0 too. At 0 a singular value has a kink.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[3.0, 0.0], [4.0, 0.0]]);
    /// let values = a.svdvals();
    /// assert!((values.value()[0] - 5.0).abs() < 1e-14 && values.value()[1].abs() < 1e-14);
    /// ```
    #[doc(alias = "linalg_svdvals")]
    #[track_caller]
    #[must_use]
    pub fn svdvals(self) -> Self {
        let [_, values, _] = self.decomposed(Svd, svd_factors);
        values
    }

    /// Applies a decomposition and returns its factors.
    #[track_caller]
    fn decomposed<const N: usize>(self, op: impl CustomOp<T> + 'static, factors: Factors<N>) -> [Self; N] {
        Self::custom(Arc::new(op), &[self]).unpacked(factors(size(&self.shape())))
    }

    /// Returns the factors that the last axis holds one after the other.
    fn unpacked<const N: usize>(self, factors: [Shape; N]) -> [Self; N] {
        let packed = self.shape();
        let (axis, mut start) = (packed.len() - 1, 0);
        factors.map(|factor| {
            let length = factor.elements();
            let part = self.apply(Linear::Slice { axis, start, step: 1, length });
            start += length;
            part.apply(Linear::Reshape { shape: packed[..axis].iter().chain(factor.iter()).copied().collect() })
        })
    }

    /// Transposes of matrices.
    fn turned(self) -> Self {
        self.swapaxes(-1, -2)
    }

    /// `x - xᵀ`.
    fn minus_transpose(self) -> Self {
        self.sub(self.turned())
    }

    /// `y[.., i, j] = x[.., j]`: it scales the columns of a matrix.
    fn per_column(self) -> Self {
        self.expand_dims(-2)
    }

    /// `y[.., i, j] = x[.., i]`: it scales the rows of a matrix.
    fn per_row(self) -> Self {
        self.expand_dims(-1)
    }
}

/// The shapes of the factors for a matrix of this size.
type Factors<const N: usize> = fn([usize; 2]) -> [Shape; N];

fn eigh_factors([n, _]: [usize; 2]) -> [Shape; 2] {
    [[n].into(), [n, n].into()]
}

fn qr_factors([m, n]: [usize; 2]) -> [Shape; 2] {
    let k = m.min(n);
    [[m, k].into(), [k, n].into()]
}

fn svd_factors([m, n]: [usize; 2]) -> [Shape; 3] {
    let k = m.min(n);
    [[m, k].into(), [k].into(), [k, n].into()]
}

/// Returns the lengths of the last two axes.
fn size(shape: &[usize]) -> [usize; 2] {
    [shape[shape.len() - 2], shape[shape.len() - 1]]
}

/// Returns the shape of the factors of all matrices, one after the other in the last axis.
fn packed<const N: usize>(name: &'static str, operands: &[&[usize]], factors: Factors<N>) -> Result<Shape, ShapeError> {
    match operands {
        [[batch @ .., m, n]] => {
            let elements = factors([*m, *n]).iter().map(Shape::elements).sum();
            Ok(batch.iter().copied().chain([elements]).collect())
        }
        [shape] => Err(ShapeError::new(name, operands, not_matrices(shape))),
        _ => Err(ShapeError::new(name, operands, format!("{} operands, not one", operands.len()))),
    }
}

/// Decomposes each matrix into the factors, which the function fills in double precision.
fn decompose<T: Scalar, const N: usize>(
    operands: &[ArrayViewD<'_, T>],
    mut result: ArrayViewMutD<'_, T>,
    factors: Factors<N>,
    fill: impl Fn(&[f64], [usize; 2], [&mut [f64]; N]),
) {
    let size = size(operands[0].shape());
    let lengths = factors(size).map(|factor| factor.elements());
    let mut matrix = Vec::with_capacity(size[0] * size[1]);
    let mut parts = lengths.map(|length| vec![0.0; length]);
    let (mut elements, mut out) = (operands[0].iter(), result.iter_mut());
    while out.len() > 0 {
        matrix.clear();
        matrix.extend(elements.by_ref().take(size[0] * size[1]).map(|x| x.to_f64()));
        fill(&matrix, size, parts.each_mut().map(|part| &mut part[..]));
        parts.iter().flatten().zip(out.by_ref()).for_each(|(&x, y)| *y = T::from_f64(x));
    }
}

/// Returns the identity on the tape of a value.
fn identity<T: Scalar>(of: Var<'_, T>, n: usize) -> Var<'_, T> {
    of.tape().constant(Array2::from_shape_fn((n, n), |(i, j)| if i == j { T::ONE } else { T::ZERO }))
}

/// Eigenvalues and eigenvectors of symmetric matrices.
#[derive(Debug)]
struct Eigh;

impl<T: Scalar> CustomOp<T> for Eigh {
    fn name(&self) -> &'static str {
        "eigh"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        match operands {
            [[.., m, n]] if m != n => Err(ShapeError::new("eigh", operands, not_square(operands[0]))),
            _ => packed("eigh", operands, eigh_factors),
        }
    }

    fn forward(&self, operands: &[ArrayViewD<'_, T>], result: ArrayViewMutD<'_, T>) {
        decompose(operands, result, eigh_factors, |a, [n, _], [values, vectors]| linalg::eigh(a, n, values, vectors));
    }

    fn vjp<'t>(&self, _: usize, operands: &[Var<'t, T>], result: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T> {
        let [n, _] = size(&operands[0].shape());
        let factors = eigh_factors([n, n]);
        let ([values, v], [g_values, g_v]) = (result.unpacked(factors.clone()), g.unpacked(factors));
        // 1 on the diagonal, where what is divided is 0.
        let gaps = values.per_column().sub(values.per_row()).add(identity(g, n));
        let turn = v.turned().matmul(g_v).minus_transpose().scale(T::from_f64(0.5)).zero_divide(gaps);
        v.mul(g_values.per_column()).add(v.matmul(turn)).matmul(v.turned())
    }
}

/// An orthogonal and an upper triangular factor.
#[derive(Debug)]
struct Qr;

impl Qr {
    /// The rule for matrices that have at least as many rows as columns.
    fn tall_vjp<'t, T: Scalar>([q, r]: [Var<'t, T>; 2], [g_q, g_r]: [Var<'t, T>; 2]) -> Var<'t, T> {
        let product = r.matmul(g_r.turned()).sub(g_q.turned().matmul(q));
        let symmetric = product.tril(0).add(product.tril(-1).turned());
        r.solve(g_q.add(q.matmul(symmetric)).turned()).turned()
    }
}

impl<T: Scalar> CustomOp<T> for Qr {
    fn name(&self) -> &'static str {
        "qr"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        packed("qr", operands, qr_factors)
    }

    fn forward(&self, operands: &[ArrayViewD<'_, T>], result: ArrayViewMutD<'_, T>) {
        decompose(operands, result, qr_factors, |a, size, [q, r]| linalg::qr(a, size, q, r));
    }

    fn vjp<'t>(&self, _: usize, operands: &[Var<'t, T>], result: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T> {
        let [m, n] = size(&operands[0].shape());
        let factors = qr_factors([m, n]);
        let ([q, r], [g_q, g_r]) = (result.unpacked(factors.clone()), g.unpacked(factors));
        if m >= n {
            return Self::tall_vjp([q, r], [g_q, g_r]);
        }
        // a = [b, c] = q [r, s] with a square b = q r, and s = qᵀ c. Then c = q s.
        let halves = |x: Var<'t, T>| (x.slice(-1, ..m), x.slice(-1, m..));
        let ((r, s), (g_r, g_s)) = (halves(r), halves(g_r));
        let g_q = g_q.add(q.matmul(s).matmul(g_s.turned()));
        Var::concat(&[Self::tall_vjp([q, r], [g_q, g_r]), q.matmul(g_s)], -1)
    }
}

/// Singular values, and the vectors at the left and at the right.
#[derive(Debug)]
struct Svd;

impl<T: Scalar> CustomOp<T> for Svd {
    fn name(&self) -> &'static str {
        "svd"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        packed("svd", operands, svd_factors)
    }

    fn forward(&self, operands: &[ArrayViewD<'_, T>], result: ArrayViewMutD<'_, T>) {
        decompose(operands, result, svd_factors, |a, size, [u, values, v_t]| linalg::svd(a, size, u, values, v_t));
    }

    fn vjp<'t>(&self, _: usize, operands: &[Var<'t, T>], result: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T> {
        let [m, n] = size(&operands[0].shape());
        let (k, factors) = (m.min(n), svd_factors([m, n]));
        let ([u, values, v_t], [g_u, g_values, g_v_t]) = (result.unpacked(factors.clone()), g.unpacked(factors));
        let (columns, rows, one) = (values.per_column(), values.per_row(), identity(g, k));
        // The difference of squares as two factors: their product may overflow. On the diagonal, what is divided is 0.
        let (gaps, sums) = (columns.sub(rows).add(one), columns.add(rows).add(one));
        let turn = |x: Var<'t, T>| x.minus_transpose().zero_divide(gaps).zero_divide(sums);
        let (left, right) = (turn(u.turned().matmul(g_u)), turn(v_t.matmul(g_v_t.turned())));
        let middle = left.mul(columns).add(right.mul(rows));
        let mut g_u_s = u.mul(g_values.per_column()).add(u.matmul(middle));
        if m > k {
            // The part of the cotangent outside the space of u.
            let outside = g_u.sub(u.matmul(u.turned().matmul(g_u)));
            g_u_s = g_u_s.add(outside.zero_divide(columns));
        }
        let within = g_u_s.matmul(v_t);
        if n == k {
            return within;
        }
        let outside = g_v_t.sub(g_v_t.matmul(v_t.turned()).matmul(v_t));
        within.add(u.matmul(outside.zero_divide(rows)))
    }
}
