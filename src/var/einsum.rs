//! [`Var::einsum`]: sums of products by subscripts, made of permutations, products of matrices and sums.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::op::{Linear, Permutation};
use crate::scalar::Scalar;
use crate::shape::{KeepDims, Shape, ShapeError};
use crate::tape::Var;

/// The name of an axis: a letter, or a place among the axes that `...` stands for, counted from the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Unnamed(usize),
    Letter(char),
}

type Labels = SmallVec<[Label; 8]>;

/// Subscripts, as labels for the axes of each operand and of the result.
struct Subscripts {
    operands: Vec<Labels>,
    result: Labels,
}

impl Subscripts {
    /// Reads `"ij,jk->ik"` for operands of these shapes.
    fn parse(text: &str, shapes: &[Shape]) -> Result<Self, String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (terms, result) = match text.split_once("->") {
            Some((terms, result)) => (terms, Some(result)),
            None => (&*text, None),
        };
        let terms: Vec<&str> = terms.split(',').collect();
        if terms.len() != shapes.len() {
            return Err(format!("{text} names {} operands, {} are given", terms.len(), shapes.len()));
        }
        let pairs = terms.iter().zip(shapes);
        let operands: Vec<Labels> = pairs
            .map(|(term, shape)| labels(term, |letters| unnamed(term, letters, shape)))
            .collect::<Result<_, _>>()?;
        let all = operands.iter().flatten().copied();
        let most = all.clone().filter(|label| matches!(label, Label::Unnamed(_))).map(|label| match label {
            Label::Unnamed(place) => place + 1,
            Label::Letter(_) => 0,
        });
        let most = most.max().unwrap_or(0);
        let result = match result {
            Some(result) => labels(result, |_| Ok(most))?,
            None => {
                let mut counts = BTreeMap::new();
                all.clone().for_each(|label| *counts.entry(label).or_insert(0) += 1);
                let once = counts.iter().filter(|&(label, count)| matches!(label, Label::Letter(_)) && *count == 1);
                (0..most).rev().map(Label::Unnamed).chain(once.map(|(&label, _)| label)).collect()
            }
        };
        for (position, label) in result.iter().enumerate() {
            if result[..position].contains(label) {
                return Err(format!("{} is twice in the result of {text}", label.name()));
            }
            if !all.clone().any(|other| other == *label) {
                return Err(format!("{} is in the result of {text} and in no operand", label.name()));
            }
        }
        Ok(Self { operands, result })
    }
}

impl Label {
    fn name(self) -> String {
        match self {
            Self::Letter(letter) => letter.to_string(),
            Self::Unnamed(place) => format!("axis -{} of ...", place + 1),
        }
    }
}

/// Reads the letters of a term; `unnamed` returns the number of axes that `...` stands for beside so many letters.
fn labels(term: &str, unnamed: impl Fn(usize) -> Result<usize, String>) -> Result<Labels, String> {
    let (before, after) = term.split_once("...").unwrap_or((term, ""));
    let count = unnamed(before.chars().chain(after.chars()).count())?;
    let count = if term.contains("...") { count } else { 0 };
    let letter = |c: char| match c {
        'a'..='z' | 'A'..='Z' => Ok(Label::Letter(c)),
        _ => Err(format!("{c:?} in {term:?} is no letter")),
    };
    let rest = (0..count).rev().map(|place| Ok(Label::Unnamed(place)));
    before.chars().map(letter).chain(rest).chain(after.chars().map(letter)).collect()
}

/// Returns the number of axes of an operand beyond its letters.
fn unnamed(term: &str, letters: usize, shape: &Shape) -> Result<usize, String> {
    match shape.len().checked_sub(letters) {
        Some(rest) if rest == 0 || term.contains("...") => Ok(rest),
        _ => Err(format!("{term:?} names {letters} axes of an operand of {}", shape.len())),
    }
}

/// A factor of the product, with a label for each axis.
struct Factor<'t, T> {
    value: Var<'t, T>,
    labels: Labels,
}

/// Returns the labels of `from` that are in `list`, or those that are not.
fn shared(from: &Labels, list: &[Label]) -> Labels {
    from.iter().copied().filter(|label| list.contains(label)).collect()
}

fn without(from: &Labels, list: &[Label]) -> Labels {
    from.iter().copied().filter(|label| !list.contains(label)).collect()
}

fn join(parts: &[&Labels]) -> Labels {
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

impl<'t, T: Scalar> Factor<'t, T> {
    /// Returns the factor with its axes in this order.
    #[track_caller]
    fn ordered(self, labels: Labels) -> Self {
        if labels == self.labels {
            return self;
        }
        let place = |label| self.labels.iter().position(|own| own == label).expect("the order names the same axes");
        let order = Permutation::new(labels.iter().map(place));
        Self { value: self.value.apply(Linear::Permute { order }), labels }
    }

    /// Returns the factor with the diagonal of the axes that have one label.
    #[track_caller]
    fn without_repeats(mut self) -> Self {
        loop {
            let labels = &self.labels;
            let repeats = |position: &usize| labels[position + 1..].contains(&labels[*position]);
            let Some(first) = (0..labels.len()).find(repeats) else { return self };
            let label = labels[first];
            let pair = |position: &usize| labels[*position] == label;
            let second = (first + 1..labels.len()).find(pair).expect("the label is there again");
            let rest = (0..labels.len()).filter(|&axis| axis != first && axis != second);
            let order = Permutation::new(rest.clone().chain([first, second]));
            let kept = rest.map(|axis| labels[axis]).chain([label]).collect();
            self = Self { value: self.value.apply(Linear::Permute { order }).apply(Linear::Diagonal), labels: kept };
        }
    }

    /// Returns the factor without its axes of length 1 along which another factor is longer: there it repeats.
    #[track_caller]
    fn without_repetition(self, lengths: &BTreeMap<Label, usize>) -> Self {
        let shape = self.value.shape();
        let kept = |axis: &usize| shape[*axis] == lengths[&self.labels[*axis]];
        if (0..shape.len()).all(|axis| kept(&axis)) {
            return self;
        }
        let axes = (0..shape.len()).filter(kept);
        let short = axes.clone().map(|axis| shape[axis]).collect();
        Self {
            value: self.value.apply(Linear::Reshape { shape: short }),
            labels: axes.map(|axis| self.labels[axis]).collect(),
        }
    }

    /// Returns the factor summed over the axes whose label nothing else needs.
    #[track_caller]
    fn summed(self, needed: &[Label]) -> Self {
        let axes: SmallVec<[isize; 8]> = (0..self.labels.len())
            .filter(|&axis| !needed.contains(&self.labels[axis]))
            .map(|axis| axis as isize)
            .collect();
        if axes.is_empty() {
            return self;
        }
        Self { value: self.value.sum_axes(axes, KeepDims::No), labels: shared(&self.labels, needed) }
    }

    /// Returns the product of two factors, summed over the labels that both have and nothing else needs.
    #[track_caller]
    fn times(self, other: Self, needed: &[Label], lengths: &BTreeMap<Label, usize>) -> Self {
        let both = shared(&self.labels, &other.labels);
        let (batch, inner) = (shared(&both, needed), without(&both, needed));
        let (left, right) = (without(&self.labels, &both), without(&other.labels, &both));
        let of = |labels: &Labels| labels.iter().map(|label| lengths[label]).collect::<SmallVec<[usize; 8]>>();
        let count = |labels: &Labels| of(labels).iter().product::<usize>();
        let labels = join(&[&batch, &left, &right]);
        let (a, b) =
            (self.ordered(join(&[&batch, &left, &inner])).value, other.ordered(join(&[&batch, &inner, &right])).value);
        let reshape = |x: Var<'t, T>, shape: Shape| x.apply(Linear::Reshape { shape });
        if inner.is_empty() {
            // No sum: an elementwise product with broadcasting.
            let ones = std::iter::repeat_n(1, right.len());
            let a = if right.is_empty() { a } else { reshape(a, a.shape().iter().copied().chain(ones).collect()) };
            let ones = std::iter::repeat_n(1, left.len());
            let b = match left.is_empty() || batch.is_empty() {
                true => b,
                false => reshape(b, of(&batch).into_iter().chain(ones).chain(of(&right)).collect()),
            };
            return Self { value: a.mul(b), labels };
        }
        let batches = of(&batch).iter().product::<usize>();
        let (rows, middle, columns) = (count(&left), count(&inner), count(&right));
        let product = match batch.is_empty() {
            true => reshape(a, [rows, middle].into()).matmul(reshape(b, [middle, columns].into())),
            false => reshape(a, [batches, rows, middle].into()).matmul(reshape(b, [batches, middle, columns].into())),
        };
        let shape = of(&labels).into_iter().collect();
        Self { value: product.apply(Linear::Reshape { shape }), labels }
    }
}

impl<'t, T: Scalar> Var<'t, T> {
    /// Returns a sum of products that subscripts describe, like NumPy's `einsum`: a letter for each axis of each operand,
    /// then `->` and the letters of the result. A letter that is not in the result is summed over.
    ///
    /// | subscripts | result |
    /// |---|---|
    /// | `"ij,jk->ik"` | the product of matrices |
    /// | `"bij,bjk->bik"` | of batches of matrices |
    /// | `"i,j->ij"` | the outer product |
    /// | `"ij,ij->"` | the sum of the products of all elements |
    /// | `"ii->i"` | the diagonal |
    /// | `"...ij->...ji"` | the transpose of the last two axes; `...` stands for any axes before them |
    ///
    /// Without `->` the result has the letters that occur once, in the order of the alphabet. An axis of length 1 repeats
    /// to the length that its letter has elsewhere. Spaces have no meaning.
    ///
    /// Of several operands, the two whose product is the smallest beside what they were are multiplied first, and so on. A
    /// pair with a common sum is one product of matrices.
    ///
    /// # Derivative
    ///
    /// That of the operations it is made of. For `"ij,jk->ik"` these are `g bᵀ` and `aᵀ g`.
    ///
    /// # Panics
    ///
    /// If the subscripts cannot be read, do not fit the operands, or a letter has two lengths; if there are no operands, or
    /// they are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Tape, Var};
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let (x, y) = (tape.leaf(array![1.0, -1.0]), tape.leaf(array![0.0, 2.0]));
    /// assert_eq!(Var::einsum("ij,j->i", &[a, x]).value(), array![-1.0, -1.0].into_dyn());
    /// let form = Var::einsum("i,ij,j->", &[x, a, y]); // xᵀ a y
    /// form.backward();
    /// assert_eq!(form.item(), -4.0);
    /// assert_eq!(x.grad().unwrap(), array![4.0, 8.0].into_dyn()); // a y
    /// ```
    #[track_caller]
    #[must_use]
    pub fn einsum(subscripts: &str, operands: &[Self]) -> Self {
        let Some(&first) = operands.first() else { panic!("einsum: there are no operands") };
        for &operand in operands {
            first.assert_same_tape("einsum", operand);
        }
        let shapes: Vec<Shape> = operands.iter().map(|operand| operand.shape()).collect();
        let read = Subscripts::parse(subscripts, &shapes).and_then(|read| Ok((lengths(&read, &shapes)?, read)));
        let (lengths, subscripts) = match read {
            Ok(read) => read,
            Err(finding) => {
                let shapes: Vec<&[usize]> = shapes.iter().map(|shape| &**shape).collect();
                let ids: SmallVec<[u32; 8]> = operands.iter().map(|operand| operand.id()).collect();
                panic!("{}", first.tape().explain(&ShapeError::new("einsum", &shapes, finding), &ids))
            }
        };
        let mut factors: Vec<Factor<'t, T>> = Vec::with_capacity(operands.len());
        for (&value, labels) in operands.iter().zip(subscripts.operands) {
            factors.push(Factor { value, labels }.without_repetition(&lengths).without_repeats());
        }
        let result = subscripts.result;
        for k in 0..factors.len() {
            let needed = needed(&factors, [k, k], &result);
            let factor = factors.remove(k);
            factors.insert(k, factor.summed(&needed));
        }
        while factors.len() > 1 {
            let (i, j) = cheapest(&factors, &result, &lengths);
            let needed = needed(&factors, [i, j], &result);
            let (b, a) = (factors.remove(j), factors.remove(i));
            factors.insert(i, a.times(b, &needed, &lengths));
        }
        factors.remove(0).ordered(result).value
    }
}

/// Returns the length that each label has; an axis of length 1 takes any.
fn lengths(subscripts: &Subscripts, shapes: &[Shape]) -> Result<BTreeMap<Label, usize>, String> {
    let mut lengths = BTreeMap::new();
    for (labels, shape) in subscripts.operands.iter().zip(shapes) {
        for (position, (&label, &length)) in labels.iter().zip(&**shape).enumerate() {
            let known = lengths.entry(label).or_insert(length);
            // Two axes of one operand are a diagonal, and do not repeat.
            let own = labels[..position].iter().position(|earlier| *earlier == label).map(|earlier| shape[earlier]);
            match (*known, own) {
                (_, Some(own)) if own != length => {
                    return Err(format!("{} has the lengths {own} and {length} in one operand", label.name()));
                }
                (1, _) => *known = length,
                (known, _) if known == length || length == 1 => {}
                (known, _) => return Err(format!("{} has the lengths {known} and {length}", label.name())),
            }
        }
    }
    Ok(lengths)
}

/// Returns the labels that the result or a factor other than these needs.
fn needed<T>(factors: &[Factor<'_, T>], but: [usize; 2], result: &Labels) -> Labels {
    let others = factors.iter().enumerate().filter(|(k, _)| !but.contains(k));
    result.iter().copied().chain(others.flat_map(|(_, factor)| factor.labels.iter().copied())).collect()
}

/// Returns the pair of factors whose product has the fewest elements beside those of the two; of several, the first.
fn cheapest<T>(factors: &[Factor<'_, T>], result: &Labels, lengths: &BTreeMap<Label, usize>) -> (usize, usize) {
    let size = |labels: &Labels| labels.iter().map(|label| lengths[label] as f64).product::<f64>();
    let (mut best, mut least) = ((0, 1), f64::INFINITY);
    for j in 1..factors.len() {
        for i in 0..j {
            let (a, b) = (&factors[i].labels, &factors[j].labels);
            let kept = needed(factors, [i, j], result);
            let product = join(&[&shared(a, &kept), &shared(&without(b, a), &kept)]);
            let growth = size(&product) - size(a) - size(b);
            if growth < least {
                (best, least) = ((i, j), growth);
            }
        }
    }
    best
}
