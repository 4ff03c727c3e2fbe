//! Rules on `Var`s: the language of rules ([`RuleContext`]), recorded.

use smallvec::SmallVec;

use crate::op::{ConcatOffsets, Linear, Op, RuleContext, vjp};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{CustomOp, RecordedRule, Step, Tape, Var, id_of};

/// One node in a sweep that records.
pub(super) struct AtVars<'t, 'o, T> {
    tape: &'t Tape<T>,
    id: u32,
    step: &'o Step<T>,
    operands: &'o [u32],
    offsets: ConcatOffsets,
}

impl<'t, 'o, T: Scalar> AtVars<'t, 'o, T> {
    pub(super) fn new(tape: &'t Tape<T>, id: u32, step: &'o Step<T>, operands: &'o [u32]) -> Self {
        Self { tape, id, step, operands, offsets: ConcatOffsets::default() }
    }

    /// Records the rule for operand `k` in a sweep, and notes it.
    #[track_caller]
    pub(super) fn record_rule(&self, k: usize, g: Var<'t, T>) -> Var<'t, T> {
        let first = id_of(self.tape.len());
        let contribution = self.record_vjp(k, g);
        self.tape.note_rule(RecordedRule { first, result: contribution.id(), node: self.id, k, g: g.id() });
        contribution
    }

    /// Records the rule for operand `k` and gives the result the operand's shape.
    pub(super) fn record_vjp(&self, k: usize, g: Var<'t, T>) -> Var<'t, T> {
        let contribution = match self.step {
            Step::Op(op) => vjp(op, k, self, g),
            Step::Custom(custom) => {
                let operands: SmallVec<[Var<'t, T>; 4]> = (0..self.operands.len()).map(|k| self.x(k)).collect();
                let custom = self.tape.custom_op(*custom);
                let result = custom.vjp(k, &operands, self.y(), g);
                assert_fits(custom, k, result, self.tape, self.x_shape(k));
                result
            }
            // These steps have no operands, or are recorded as a whole.
            Step::Leaf | Step::Constant | Step::Param | Step::Checkpoint(_) => g,
        };
        let target = self.x_shape(k);
        if shape_of(contribution) == target {
            contribution
        } else {
            self.apply(Linear::SumTo { shape: target }, [contribution])
        }
    }
}

/// Returns the shape of a value.
pub(super) fn shape_of<T: Scalar>(x: Var<'_, T>) -> Shape {
    Shape::from(x.tape().nodes().shape(x.id()))
}

impl<'t, T: Scalar> RuleContext<T> for AtVars<'t, '_, T> {
    type Value = Var<'t, T>;

    fn x(&self, k: usize) -> Var<'t, T> {
        Var::new(self.tape, self.operands[k])
    }

    fn x_shape(&self, k: usize) -> Shape {
        shape_of(self.x(k))
    }

    fn x_start(&self, k: usize, axis: usize) -> usize {
        let nodes = self.tape.nodes();
        self.offsets.of(k, self.operands.iter().map(|&x| nodes.shape(x)[axis]))
    }

    fn y(&self) -> Var<'t, T> {
        Var::new(self.tape, self.id)
    }

    fn dup(&self, value: &mut Var<'t, T>) -> Var<'t, T> {
        *value
    }

    fn apply<const N: usize>(&self, op: impl Into<Op<T>>, operands: [Var<'t, T>; N]) -> Var<'t, T> {
        self.tape.apply(op.into(), &operands.map(Var::id))
    }

    fn row_vjp(&self, k: usize, g: Var<'t, T>) -> Var<'t, T> {
        match self.step {
            Step::Op(Op::Unary(row)) => row.vjp(g, self.x(0), self.y()),
            Step::Op(Op::Binary(row)) => row.vjp(k, g, self.x(0), self.x(1), self.y()),
            // Other steps have rules of their own.
            Step::Op(_) | Step::Custom(_) | Step::Leaf | Step::Constant | Step::Param | Step::Checkpoint(_) => g,
        }
    }
}

/// Panics if a custom operation's rule did not return a cotangent of its operand `k`.
pub(super) fn assert_fits<T: Scalar>(
    custom: &dyn CustomOp<T>,
    k: usize,
    result: Var<'_, T>,
    tape: &Tape<T>,
    operand: Shape,
) {
    let name = custom.name();
    assert!(std::ptr::eq(result.tape(), tape), "{name}: vjp returned a Var of another tape");
    if let Err(error) = Op::<T>::Linear(Linear::SumTo { shape: operand }).shape(&[&shape_of(result)]) {
        panic!("{name}: vjp returned a cotangent that does not fit operand {k}: {error}");
    }
}
