//! Running a [`Program`]: inputs in, units one after the other, outputs out.

use std::mem;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, IxDyn, ShapeBuilder};
use smallvec::SmallVec;

use super::compiled::Compiled;
use super::graph::{Action, Guard, Origin, Test, Value};
use super::plan::Holder;
use super::unit::{Unit, operands};
use crate::error::{Error, Result};
use crate::kernel::view::{self, View};
use crate::memory::Pool;
use crate::op::{OpData, Outside};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};

/// All arrays of a run except those that are being computed.
struct Arrays<'r, T> {
    compiled: &'r Compiled<T>,
    inputs: &'r [&'r [T]],
    params: &'r [Arc<ArrayD<T>>],
    slots: &'r [Vec<T>],
}

impl<T: Scalar> Outside<T> for Arrays<'_, T> {
    #[inline]
    fn row_major(&self, value: usize) -> &[T] {
        let (holder, offset) = self.compiled.plan.held[value];
        let data: &[T] = match holder {
            Holder::Slot(slot) => &self.slots[slot],
            Holder::Input(position) => self.inputs[position],
            Holder::Param(position) => self.params[position].as_slice().expect("values are in standard layout"),
            Holder::Constant(value) => match &self.compiled.graph.values[value].origin {
                Origin::Constant(constant) => &constant.data,
                Origin::Input(_) | Origin::Param(_) | Origin::Computed { .. } => &[],
            },
            Holder::Nobody => panic!("a value of the program is read where it has no memory"),
        };
        &data[offset..]
    }

    #[inline]
    fn view(&self, value: usize) -> View<'_, T> {
        let data = self.row_major(value);
        let shape = &self.compiled.graph.values[value].shape;
        let strides = self.compiled.plan.located[value].strides.as_deref();
        let end = if strides.is_none() { elements(shape) } else { data.len() };
        View { data: &data[..end], shape, strides }
    }
}

/// The memory of a program, from one run to the next.
pub(super) struct Memory<T> {
    /// Inputs that are not in standard layout, in row-major order.
    inputs: Vec<Vec<T>>,
    params: Vec<Arc<ArrayD<T>>>,
    slots: Vec<Vec<T>>,
    registers: Vec<Vec<T>>,
    numbers: Vec<T>,
    /// The arrays that a group makes, while it runs.
    made: Vec<Vec<T>>,
    /// Scratch memory of kernels.
    pool: Pool<T>,
    /// Whether a run has begun and has not come to its end: a custom operation panicked.
    unfinished: bool,
}

impl<T: Scalar> Memory<T> {
    pub(super) fn new(compiled: &Compiled<T>) -> Self {
        let zeros = |lengths: &[usize]| lengths.iter().map(|&length| vec![T::ZERO; length]).collect();
        let widest = compiled.plan.units.iter().map(|unit| unit.made().len());
        Self {
            inputs: compiled.graph.inputs.iter().map(|_| Vec::new()).collect(),
            params: Vec::with_capacity(compiled.graph.params.len()),
            slots: zeros(&compiled.plan.slots),
            registers: zeros(&compiled.plan.registers),
            numbers: vec![T::ZERO; compiled.plan.numbers],
            made: Vec::with_capacity(widest.max().unwrap_or(0)),
            pool: Pool::default(),
            unfinished: false,
        }
    }

    /// Checks inputs, runs all units, and adds the gradients.
    pub(super) fn run(&mut self, compiled: &Compiled<T>, inputs: &[ArrayViewD<'_, T>]) -> Result<()> {
        let graph = &compiled.graph;
        check(&graph.inputs, inputs)?;
        if self.unfinished {
            *self = Self::new(compiled);
        }
        self.unfinished = true;
        let Self { inputs: copies, params, slots, registers, numbers, made, pool, unfinished } = self;
        for (copy, input) in copies.iter_mut().zip(inputs) {
            copy.clear();
            if input.as_slice().is_none() {
                copy.extend(input.iter());
            }
        }
        params.extend(graph.params.iter().map(Param::value));
        let inputs: SmallVec<[&[T]; 8]> =
            inputs.iter().zip(&*copies).map(|(input, copy)| input.as_slice().unwrap_or(copy)).collect();
        for unit in &compiled.plan.units {
            run_unit(compiled, unit, &inputs, Parts { params, slots, registers, numbers, made }, pool);
        }
        let arrays = Arrays { compiled, inputs: &inputs, params, slots };
        let diverged = graph.guards.iter().find_map(|guard| guard.check(arrays.view(guard.value)));
        if diverged.is_none() {
            for (param, value) in &graph.gradients {
                let g = arrays.view(*value);
                param.accumulate_with(|contribution| view::copy(g, g.shape, contribution));
            }
        }
        params.clear();
        *unfinished = false;
        diverged.map_or(Ok(()), Err)
    }
}

/// The memory that a unit reads and writes.
struct Parts<'m, T> {
    params: &'m [Arc<ArrayD<T>>],
    slots: &'m mut [Vec<T>],
    registers: &'m mut [Vec<T>],
    numbers: &'m mut [T],
    made: &'m mut Vec<Vec<T>>,
}

fn run_unit<T: Scalar>(compiled: &Compiled<T>, unit: &Unit<T>, inputs: &[&[T]], memory: Parts<'_, T>, pool: &Pool<T>) {
    let Parts { params, slots, registers, numbers, made: taken } = memory;
    let plan = &compiled.plan;
    let slot = |value: usize| plan.slot[value].expect("a computed value has memory");
    match unit {
        &Unit::One(value) => {
            let mut memory = mem::take(&mut slots[slot(value)]);
            let found = &compiled.graph.values[value];
            let arrays = Arrays { compiled, inputs, params, slots };
            let views: SmallVec<[View<'_, T>; 4]> = operands(found).iter().map(|&x| arrays.view(x)).collect();
            run_one(found, &views, &mut memory[..elements(&found.shape)], &compiled.graph.data, pool);
            drop(views);
            slots[slot(value)] = memory;
        }
        Unit::Group { made, .. } | Unit::Straight { made, .. } => {
            taken.extend(made.iter().map(|&value| mem::take(&mut slots[slot(value)])));
            let arrays = Arrays { compiled, inputs, params, slots };
            match unit {
                Unit::Group { group, .. } => T::run_tiles(group, &arrays, taken, registers),
                Unit::Straight { program, .. } => T::run_straight(program, &arrays, taken, numbers),
                Unit::One(_) => {}
            }
            for (&value, memory) in made.iter().zip(taken.drain(..)) {
                slots[slot(value)] = memory;
            }
        }
    }
}

fn run_one<T: Scalar>(value: &Value<T>, x: &[View<'_, T>], out: &mut [T], data: &OpData, pool: &Pool<T>) {
    let Origin::Computed { action, .. } = &value.origin else { return };
    match action {
        Action::Op(op) => T::run(op, x, &value.shape, out, data, pool),
        Action::Copy => view::copy(x[0], &value.shape, out),
        // A row without elements. One with elements is a step of a group.
        Action::PullUnary(_) | Action::PullBinary(..) => {}
        Action::Custom(custom) => {
            let operands: SmallVec<[ArrayViewD<'_, T>; 4]> = x.iter().map(View::array).collect();
            let result = ArrayViewMutD::from_shape(IxDyn(&value.shape), out);
            custom.forward(&operands, result.expect("the memory has the result's shape"));
        }
    }
}

/// Checks the number and the shapes of inputs.
fn check<T>(expected: &[Shape], found: &[ArrayViewD<'_, T>]) -> Result<()> {
    if expected.len() != found.len() {
        let inputs = |count: usize| format!("{count} {}", if count == 1 { "array" } else { "arrays" });
        return Err(Error::value("the inputs of a program", inputs(expected.len()), inputs(found.len())));
    }
    for (position, (expected, found)) in expected.iter().zip(found).enumerate() {
        if **expected != *found.shape() {
            let found = format!("the shape {}", Shape::from(found.shape()));
            return Err(Error::value(
                "an input of a program",
                format!("the shape {expected} for input {position}"),
                found,
            ));
        }
    }
    Ok(())
}

impl<T: Scalar> Guard<T> {
    /// Returns an error if a run finds another value, or another answer.
    fn check(&self, found: View<'_, T>) -> Option<Error> {
        let (expected, found) = match &self.test {
            Test::Same(recorded) => {
                let found = found.array();
                let differ = |(a, b): &(&T, &T)| a.to_f64().to_bits() != b.to_f64().to_bits();
                let (recorded, found) = recorded.iter().zip(&found).find(differ)?;
                (recorded.to_string(), found.to_string())
            }
            Test::Answer { question, answer } => {
                let found = question(found.data[0]);
                if found == *answer {
                    return None;
                }
                (answer.to_string(), found.to_string())
            }
        };
        Some(Error::Diverged { node: self.node, location: self.location, expected, found })
    }
}

/// The results of a run.
///
/// # Example
///
/// See [`Program::run`](crate::Program::run).
pub struct Outputs<'p, T> {
    compiled: &'p Compiled<T>,
    memory: &'p Memory<T>,
}

impl<'p, T: Scalar> Outputs<'p, T> {
    pub(super) fn new(compiled: &'p Compiled<T>, memory: &'p Memory<T>) -> Self {
        Self { compiled, memory }
    }

    /// Returns the number of outputs.
    ///
    /// # Example
    ///
    /// See [`Program::run`](crate::Program::run).
    #[must_use]
    pub fn len(&self) -> usize {
        self.compiled.graph.outputs.len()
    }

    /// Returns whether there are no outputs.
    ///
    /// # Example
    ///
    /// See [`Program::run`](crate::Program::run).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an output, without copying it.
    ///
    /// # Panics
    ///
    /// If there are not so many outputs.
    ///
    /// # Example
    ///
    /// See [`Program::run`](crate::Program::run).
    #[track_caller]
    #[must_use]
    pub fn value(&self, output: usize) -> ArrayViewD<'p, T> {
        let Self { compiled, memory } = self;
        assert!(output < self.len(), "output {output} of a program that has {}", self.len());
        let value = compiled.graph.outputs[output];
        let located = &compiled.plan.located[value];
        let slot = compiled.plan.slot[located.root].expect("outputs are in the program's memory");
        let (data, shape) = (&memory.slots[slot][located.offset..], &compiled.graph.values[value].shape);
        match &located.strides {
            Some(strides) => ArrayViewD::from_shape(IxDyn(shape).strides(IxDyn(strides)), data),
            None => ArrayViewD::from_shape(IxDyn(shape), &data[..elements(shape)]),
        }
        .expect("an output's memory holds its shape")
    }

    /// Returns the only element of an output.
    ///
    /// # Panics
    ///
    /// If there are not so many outputs, or the output does not have exactly one element.
    ///
    /// # Example
    ///
    /// See [`Program::run`](crate::Program::run).
    #[track_caller]
    #[must_use]
    pub fn item(&self, output: usize) -> T {
        let value = self.value(output);
        assert!(value.len() == 1, "item: an output of shape {} is not a single number", Shape::from(value.shape()));
        value.first().copied().expect("there is one element")
    }
}

impl<T: Scalar> std::fmt::Debug for Outputs<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries((0..self.len()).map(|output| self.value(output))).finish()
    }
}
