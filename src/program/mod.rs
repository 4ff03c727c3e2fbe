//! [`Program`]: a recorded computation, planned once and run again and again on new inputs.
//!
//! A tape decides at each operation what to do. A program has the whole computation before it runs:
//!
//! - What the outputs do not need is left out. Equal steps run once. What does not depend on inputs or parameters is
//!   computed at compile time.
//! - Elementwise operations of one size, and the rules of their backward pass, run together, tile by tile in the cache.
//!   What only such a group reads never reaches memory.
//! - Views are not computed. Arrays whose time is over give their memory to later ones. A run on one thread allocates
//!   nothing.
//!
//! The arithmetic is the same as on the tape, and so are the bits of the results.
//!
//! | file | content |
//! |---|---|
//! | `compiled` | the two below together |
//! | `graph` | what is computed, read from a tape |
//! | `plan` | in which order, what runs together, and where values lie |
//! | `unit` | what runs at once |
//! | `straight` | arrays of a few elements as single numbers |
//! | `run` | one run |
//! | `print` | the plan as text |

mod compiled;
mod graph;
mod plan;
mod print;
mod run;
mod straight;
mod unit;

use std::fmt;

use ndarray::ArrayViewD;

use crate::error::Result;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Step, Var};
use compiled::Compiled;
use graph::Graph;
use run::Memory;
pub use run::Outputs;

/// A recorded computation, planned once and run on new inputs.
///
/// [`compile`](Self::compile) takes `Var`s that are recorded on a tape: leaves or constants as inputs, any `Var`s as outputs.
/// Gradients are outputs like others: [`Var::grads`] records them. [`compile_step`](Self::compile_step) compiles a loss with
/// the gradients of all parameters, which each run adds to [`Param::grad`]. The program owns all that it needs: the tape can
/// be reset or dropped.
///
/// # What is fixed
///
/// Shapes and index arrays (labels, for example) are those of the recording. Parameters are read anew in each run. A leaf or
/// constant that is not an input keeps its value. A value that the code read while it recorded, by [`Var::item`] or
/// [`Var::value`], is a guard: the code may have taken a branch that depends on it. If a run finds another value there, it
/// ends with an error and changes nothing. [`Var::decide`] makes the branch itself the guard. To print a loss, read it after
/// compiling.
///
/// Print a program to see its plan.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::{Program, Tape};
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![1.0, 2.0]);
/// let y = (x * x).sum();
/// let dx = y.grad_wrt(x);
/// let mut program = Program::compile(&[x], &[y, dx])?;
///
/// let outputs = program.run(&[array![3.0, 4.0].into_dyn().view()])?;
/// assert_eq!(outputs.item(0), 25.0); // 3² + 4²
/// assert_eq!(outputs.value(1), array![6.0, 8.0].into_dyn()); // 2 x
/// # Ok::<(), tapegrad::Error>(())
/// ```
pub struct Program<T> {
    compiled: Compiled<T>,
    memory: Memory<T>,
}

impl<T: Scalar> Program<T> {
    /// Compiles what `outputs` need. Each run replaces the values of `inputs`.
    ///
    /// # Errors
    ///
    /// If an input is not a leaf or a constant, or is given twice. If the outputs need a
    /// [`checkpoint`](crate::Tape::checkpoint): a program plans its memory itself, so record the segment as it is.
    ///
    /// # Panics
    ///
    /// If there is no output, or inputs and outputs are recorded on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Program, Tape};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// let mut program = Program::compile(&[x], &[x.square().sum()])?;
    /// assert_eq!(program.run(&[array![3.0, 4.0].into_dyn().view()])?.item(0), 25.0);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn compile(inputs: &[Var<'_, T>], outputs: &[Var<'_, T>]) -> Result<Self> {
        Self::from_recording(inputs, outputs, &[])
    }

    /// Compiles a loss and its backward pass. Each run returns the loss as output 0 and adds its gradients to the
    /// parameters that it depends on, as [`Var::backward`] does.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile).
    ///
    /// # Panics
    ///
    /// If the loss has more than one element, or inputs and loss are recorded on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::optim::{Optimizer, Sgd};
    /// use tapegrad::{Param, Program, Tape};
    ///
    /// let w = Param::new(array![1.0]);
    /// let mut sgd = Sgd::new([&w], 0.25);
    /// let tape = Tape::new();
    /// let x = tape.constant(array![2.0]);
    /// let loss = (tape.param(&w) * x - 6.0).square().sum();
    /// let mut program = Program::compile_step(&[x], loss)?;
    ///
    /// let outputs = program.run(&[array![2.0].into_dyn().view()])?;
    /// assert_eq!(outputs.item(0), 16.0); // (1 · 2 - 6)²
    /// assert_eq!(w.grad().unwrap()[0], -16.0); // 2 (w x - 6) x
    /// sgd.step();
    /// assert_eq!(w.value()[0], 5.0); // the next run reads this value
    /// # Ok::<(), tapegrad::Error>(())
    /// ```
    #[track_caller]
    pub fn compile_step(inputs: &[Var<'_, T>], loss: Var<'_, T>) -> Result<Self> {
        let tape = loss.tape();
        let mut params: Vec<(Param<T>, Vec<Var<'_, T>>)> = Vec::new();
        {
            let nodes = tape.nodes();
            for id in (0..=loss.id()).filter(|&id| matches!(nodes.step(id), Step::Param)) {
                let Some(param) = nodes.param(id) else { continue };
                match params.iter_mut().find(|(other, _)| other.is(param)) {
                    Some((_, uses)) => uses.push(Var::new(tape, id)),
                    None => params.push((param.clone(), vec![Var::new(tape, id)])),
                }
            }
        }
        let uses: Vec<Var<'_, T>> = params.iter().flat_map(|(_, uses)| uses).copied().collect();
        let mut grads = loss.grads_or_none(&uses).into_iter();
        let mut gradients = Vec::new();
        for (param, uses) in params {
            // A parameter that was recorded twice has two gradients. The sweep on arrays adds the later one first.
            let found: Vec<Var<'_, T>> = grads.by_ref().take(uses.len()).flatten().collect();
            gradients.extend(found.into_iter().rev().map(|g| (param.clone(), g)));
        }
        Self::from_recording(inputs, &[loss], &gradients)
    }

    #[track_caller]
    fn from_recording(
        inputs: &[Var<'_, T>],
        outputs: &[Var<'_, T>],
        gradients: &[(Param<T>, Var<'_, T>)],
    ) -> Result<Self> {
        let Some(first) = outputs.first() else { panic!("a program has at least one output") };
        let tape = first.tape();
        for var in inputs.iter().chain(outputs) {
            assert!(
                std::ptr::eq(var.tape(), tape),
                "the inputs and outputs of a program are recorded on different tapes"
            );
        }
        let compiled = Compiled::new(Graph::read(tape, inputs, outputs, gradients)?);
        Ok(Self { memory: Memory::new(&compiled), compiled })
    }

    /// Runs the program: computes the outputs for these inputs, and adds the gradients of a
    /// [step](Self::compile_step) to the parameters.
    ///
    /// # Errors
    ///
    /// If the number or the shapes of the inputs are not those of the recording. [`Error::Diverged`](crate::Error::Diverged)
    /// if a value that the recording read is another one. Then no gradient changes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Program, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.constant(array![1.0, 2.0]);
    /// let mut program = Program::compile(&[x], &[x.sum(), x * 2.0])?;
    /// let outputs = program.run(&[array![3.0, 4.0].into_dyn().view()])?;
    /// assert_eq!(outputs.item(0), 7.0);
    /// assert_eq!(outputs.value(1), array![6.0, 8.0].into_dyn());
    ///
    /// let error = program.run(&[array![3.0].into_dyn().view()]).unwrap_err();
    /// assert_eq!(error.to_string(), "an input of a program: expected the shape (2,) for input 0, found the shape (1,)");
    /// # Ok::<(), tapegrad::Error>(())
    /// ```
    pub fn run(&mut self, inputs: &[ArrayViewD<'_, T>]) -> Result<Outputs<'_, T>> {
        self.memory.run(&self.compiled, inputs)?;
        Ok(Outputs::new(&self.compiled, &self.memory))
    }
}

/// Prints the plan: a receipt of the memory, then a line for each unit, with its steps.
///
/// # Example
///
/// ```
/// use ndarray::Array1;
/// use tapegrad::{Program, Tape};
///
/// let tape = Tape::new();
/// let x = tape.leaf(Array1::<f64>::ones(10));
/// let program = Program::compile(&[x], &[(x * 2.0).tanh()])?;
/// let text = program.to_string();
/// assert!(text.contains("2 rows of 10 elements, tiles of 10"));
/// # Ok::<(), tapegrad::Error>(())
/// ```
impl<T: Scalar> fmt::Display for Program<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.compiled, f)
    }
}

/// Prints the plan, as [`Display`](fmt::Display) does.
impl<T: Scalar> fmt::Debug for Program<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
