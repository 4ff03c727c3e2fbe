//! [`Straight`]: a straight-line program on single numbers.
//!
//! An array of a few elements takes more time to address than to compute. Here each element is a number in a register, and
//! each step computes one number. Parts of such arrays, and arrays joined from others, are the same registers under other
//! names: they take no step.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use crate::number::{Algebra, Number, dispatch, vocabulary};
use crate::op::elementwise::{Binary, RowLoop, Unary};
use crate::op::tile::{Outside, TileRow};

/// The arithmetic that a step does without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `-a`.
    Neg,
}

impl Arithmetic {
    #[inline(always)]
    fn of<T: Number>(self, a: T, b: T) -> T {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Neg => -a,
        }
    }
}

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Code {
    /// Of two registers; a negation reads the first alone.
    Arithmetic(Arithmetic),
    /// Another row of the table: its position among the rows is in the place of the first operand.
    Row,
}

/// A step: it reads registers and writes one.
#[derive(Clone, Copy, Debug)]
struct Step {
    code: Code,
    operands: [u32; 2],
    target: u32,
}

/// A row of the table that a step computes, with the registers that it reads.
#[derive(Clone, Debug)]
struct Row<T> {
    row: TileRow<T>,
    operands: SmallVec<[u32; 4]>,
}

/// An array from outside, its elements that are read, and the registers that they are read into.
#[derive(Clone, Debug)]
struct Load {
    array: usize,
    elements: Vec<(usize, u32)>,
}

/// A straight-line program on single numbers.
#[derive(Clone, Debug)]
pub struct Straight<T> {
    /// The content of the first registers. No step writes there.
    constants: Vec<T>,
    loads: Vec<Load>,
    steps: Vec<Step>,
    rows: Vec<Row<T>>,
    /// For each array that is made, the registers of its elements.
    stores: Vec<Vec<u32>>,
    registers: usize,
}

impl<T: Number> Straight<T> {
    /// Returns the number of registers.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    /// Returns the arrays from outside.
    pub(crate) fn reads(&self) -> impl Iterator<Item = usize> {
        self.loads.iter().map(|load| load.array)
    }

    /// Returns the number of steps.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Returns what a program does, a line for each array that it reads, for each step, and for each array that it makes.
    pub(crate) fn lines(&self, made: &[usize]) -> Vec<String> {
        let names = |registers: &[u32]| registers.iter().map(|r| format!("r{r}")).collect::<Vec<_>>().join(" ");
        let constants = self.constants.iter().enumerate().map(|(k, constant)| format!("r{k} = {constant}"));
        let loads = self.loads.iter().flat_map(|load| {
            let read = |&(element, register): &(usize, u32)| format!("r{register} = v{}[{element}]", load.array);
            load.elements.iter().map(read)
        });
        let steps = self.steps.iter().map(|step| {
            let text = match step.code {
                Code::Arithmetic(Arithmetic::Neg) => format!("neg {}", names(&step.operands[..1])),
                Code::Arithmetic(arithmetic) => {
                    format!("{} {}", format!("{arithmetic:?}").to_lowercase(), names(&step.operands))
                }
                Code::Row => {
                    let Row { row, operands } = &self.rows[step.operands[0] as usize];
                    format!("{row} {}", names(operands))
                }
            };
            format!("r{} = {text}", step.target)
        });
        let stores = self.stores.iter().zip(made).map(|(store, value)| format!("v{value} = {}", names(store)));
        constants.chain(loads).chain(steps).chain(stores).collect()
    }

    /// Runs all steps. `made` are the arrays that the program makes, `registers` its registers.
    pub(super) fn run_on(&self, outside: &dyn Outside<T>, made: &mut [Vec<T>], registers: &mut [T]) {
        registers[..self.constants.len()].copy_from_slice(&self.constants);
        for Load { array, elements } in &self.loads {
            let data = outside.row_major(*array);
            for &(element, register) in elements {
                registers[register as usize] = data[element];
            }
        }
        dispatch(Run { program: self, registers });
        for (sources, array) in self.stores.iter().zip(made) {
            for (element, &register) in array.iter_mut().zip(sources) {
                *element = registers[register as usize];
            }
        }
    }
}

/// A run, for one instruction set.
struct Run<'a, T> {
    program: &'a Straight<T>,
    registers: &'a mut [T],
}

impl<T: Number> WithSimd for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { program, registers } = self;
        for step in &program.steps {
            let [a, b] = step.operands.map(|register| register as usize);
            let y = match step.code {
                Code::Arithmetic(arithmetic) => arithmetic.of(registers[a], registers[b]),
                Code::Row => program.rows[a].number(simd, registers),
            };
            registers[step.target as usize] = y;
        }
    }
}

impl<T: Number> Row<T> {
    /// Computes the row by its loop, on arrays of one element.
    fn number<S: Simd>(&self, simd: S, registers: &[T]) -> T {
        let operand = |k: usize| [registers[self.operands[k] as usize]];
        let mut y = [T::ZERO];
        match self.row {
            TileRow::Unary(row) => RowLoop::Unary(row, &operand(0), &mut y).run(simd),
            TileRow::Binary(row) => RowLoop::Binary(row, &operand(0), &operand(1), &mut y).run(simd),
            TileRow::Select => RowLoop::Select(&operand(0), &operand(1), &operand(2), &mut y).run(simd),
            TileRow::PullUnary(row) => {
                y = operand(0);
                RowLoop::PullUnary(row, &mut y, &operand(1), &operand(2)).run(simd);
            }
            TileRow::PullBinary(row, k) => {
                y = operand(0);
                RowLoop::PullBinary(row, k, &mut y, &operand(1), &operand(2), &operand(3)).run(simd);
            }
            // The builder makes additions of it.
            TileRow::Sum(_) => {}
        }
        y[0]
    }
}

/// A number of a program that is being built.
type Id = u32;

/// How a number comes about.
enum Made<T> {
    Constant(T),
    Load { array: usize, element: usize },
    Arithmetic(Arithmetic, [Id; 2]),
    Row(TileRow<T>, SmallVec<[Id; 4]>),
}

impl<T> Made<T> {
    fn operands(&self) -> &[Id] {
        match self {
            Self::Constant(_) | Self::Load { .. } => &[],
            Self::Arithmetic(Arithmetic::Neg, operands) => &operands[..1],
            Self::Arithmetic(_, operands) => operands,
            Self::Row(_, operands) => operands,
        }
    }
}

/// Builds a [`Straight`] number by number.
pub struct StraightBuilder<T> {
    made: RefCell<Vec<Made<T>>>,
    constants: RefCell<HashMap<u64, Id>>,
    loads: RefCell<HashMap<(usize, usize), Id>>,
    /// A rule has called a function, which arithmetic alone does not compute.
    called: Cell<bool>,
}

impl<T: Number> StraightBuilder<T> {
    pub(crate) fn new() -> Self {
        Self {
            made: RefCell::new(Vec::new()),
            constants: RefCell::new(HashMap::new()),
            loads: RefCell::new(HashMap::new()),
            called: Cell::new(false),
        }
    }

    fn put(&self, made: Made<T>) -> Id {
        let mut all = self.made.borrow_mut();
        all.push(made);
        Id::try_from(all.len() - 1).expect("fewer numbers than 2³²")
    }

    /// Returns a constant.
    pub(crate) fn constant(&self, number: T) -> Id {
        *self
            .constants
            .borrow_mut()
            .entry(number.to_f64().to_bits())
            .or_insert_with(|| self.put(Made::Constant(number)))
    }

    /// Returns an element of an array from outside.
    pub(crate) fn load(&self, array: usize, element: usize) -> Id {
        *self.loads.borrow_mut().entry((array, element)).or_insert_with(|| self.put(Made::Load { array, element }))
    }

    fn arithmetic(&self, arithmetic: Arithmetic, operands: [Id; 2]) -> Id {
        let constant = |id: Id| match self.made.borrow()[id as usize] {
            Made::Constant(number) => Some(number),
            _ => None,
        };
        match operands.map(constant) {
            [Some(a), Some(b)] => self.constant(arithmetic.of(a, b)),
            _ => self.put(Made::Arithmetic(arithmetic, operands)),
        }
    }

    /// Returns the sum of numbers, one after the other.
    pub(crate) fn sum(&self, numbers: &[Id]) -> Id {
        let first = self.constant(T::ZERO);
        numbers.iter().fold(first, |sum, &number| self.arithmetic(Arithmetic::Add, [sum, number]))
    }

    /// Returns what a row computes.
    pub(crate) fn row(&self, row: TileRow<T>, operands: &[Id]) -> Id {
        let term = |k: usize| Term { builder: self, id: operands[k] };
        let by_arithmetic = |arithmetic| self.arithmetic(arithmetic, [operands[0], operands[operands.len() - 1]]);
        let with = |arithmetic, number: T| self.arithmetic(arithmetic, [operands[0], self.constant(number)]);
        let before = self.made.borrow().len();
        self.called.set(false);
        let pulled = match row {
            TileRow::Binary(Binary::Add) => return by_arithmetic(Arithmetic::Add),
            TileRow::Binary(Binary::Sub) => return by_arithmetic(Arithmetic::Sub),
            TileRow::Binary(Binary::Mul) => return by_arithmetic(Arithmetic::Mul),
            TileRow::Binary(Binary::Div) => return by_arithmetic(Arithmetic::Div),
            TileRow::Unary(Unary::Neg) => return by_arithmetic(Arithmetic::Neg),
            TileRow::Unary(Unary::Square) => return by_arithmetic(Arithmetic::Mul),
            TileRow::Unary(Unary::AddNumber { addend }) => return with(Arithmetic::Add, addend),
            TileRow::Unary(Unary::Scale { factor }) => return with(Arithmetic::Mul, factor),
            // A rule is computed on terms, as on numbers: each of its operators becomes a step.
            TileRow::PullUnary(row) => Some(row.vjp(term(0), term(1), term(2)).id),
            TileRow::PullBinary(row, k) => Some(row.vjp::<T, _>(k, term(0), term(1), term(2), term(3)).id),
            TileRow::Unary(_) | TileRow::Binary(_) | TileRow::Select | TileRow::Sum(_) => None,
        };
        match pulled {
            Some(id) if !self.called.get() => id,
            _ => {
                // The steps before a call are not read.
                debug_assert!(before <= self.made.borrow().len());
                self.put(Made::Row(row, operands.iter().copied().collect()))
            }
        }
    }

    /// Returns the program that makes these arrays. Only what they need is computed.
    pub(crate) fn finish(self, arrays: &[&[Id]]) -> Straight<T> {
        let made = self.made.into_inner();
        let stored = || arrays.iter().copied().flatten();
        // The last step that reads a number; a number that is stored is read after all steps.
        let mut last: Vec<Option<usize>> = vec![None; made.len()];
        stored().for_each(|&id| last[id as usize] = Some(usize::MAX));
        for (position, number) in made.iter().enumerate().rev() {
            if last[position].is_some() {
                for &operand in number.operands() {
                    last[operand as usize] = last[operand as usize].max(Some(position));
                }
            }
        }
        let mut register: Vec<u32> = vec![0; made.len()];
        let mut program = Straight {
            constants: Vec::new(),
            loads: Vec::new(),
            steps: Vec::new(),
            rows: Vec::new(),
            stores: Vec::new(),
            registers: 0,
        };
        let needed = || made.iter().enumerate().filter(|&(position, _)| last[position].is_some());
        let new = |program: &mut Straight<T>| {
            program.registers += 1;
            u32::try_from(program.registers - 1).expect("fewer registers than 2³²")
        };
        for (position, number) in needed() {
            if let &Made::Constant(number) = number {
                register[position] = new(&mut program);
                program.constants.push(number);
            }
        }
        let mut loads: HashMap<usize, usize> = HashMap::new();
        for (position, number) in needed() {
            if let &Made::Load { array, element } = number {
                register[position] = new(&mut program);
                let load = *loads.entry(array).or_insert_with(|| {
                    program.loads.push(Load { array, elements: Vec::new() });
                    program.loads.len() - 1
                });
                program.loads[load].elements.push((element, register[position]));
            }
        }
        let mut free: Vec<u32> = Vec::new();
        for (position, number) in needed() {
            let registers: SmallVec<[u32; 4]> = number.operands().iter().map(|&id| register[id as usize]).collect();
            let (code, operands) = match number {
                Made::Constant(_) | Made::Load { .. } => continue,
                Made::Arithmetic(arithmetic, _) => {
                    (Code::Arithmetic(*arithmetic), [registers[0], registers[registers.len() - 1]])
                }
                Made::Row(row, _) => {
                    let row = Row { row: row.clone(), operands: registers };
                    program.rows.push(row);
                    let place = u32::try_from(program.rows.len() - 1).expect("fewer rows than 2³²");
                    (Code::Row, [place, 0])
                }
            };
            // Numbers that are read for the last time give their registers to later ones, to this one first.
            for (k, &operand) in number.operands().iter().enumerate() {
                let constant = matches!(made[operand as usize], Made::Constant(_));
                let again = number.operands()[..k].contains(&operand);
                if last[operand as usize] == Some(position) && !constant && !again {
                    free.push(register[operand as usize]);
                }
            }
            register[position] = free.pop().unwrap_or_else(|| new(&mut program));
            program.steps.push(Step { code, operands, target: register[position] });
        }
        program.stores = arrays.iter().map(|array| array.iter().map(|&id| register[id as usize]).collect()).collect();
        program
    }
}

/// A number that a rule computes with.
struct Term<'b, T> {
    builder: &'b StraightBuilder<T>,
    id: Id,
}

impl<T> Clone for Term<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Term<'_, T> {}

impl<T: Number> Term<'_, T> {
    fn with(self, arithmetic: Arithmetic, other: Id) -> Self {
        Self { id: self.builder.arithmetic(arithmetic, [self.id, other]), ..self }
    }

    /// A function that is not arithmetic: the row that called it becomes a step.
    fn call(self) -> Self {
        self.builder.called.set(true);
        self
    }
}

impl<T: Number> Neg for Term<'_, T> {
    type Output = Self;

    fn neg(self) -> Self {
        self.with(Arithmetic::Neg, self.id)
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident)*) => { $(
        impl<T: Number> $Trait for Term<'_, T> {
            type Output = Self;

            fn $method(self, other: Self) -> Self {
                self.with(Arithmetic::$Trait, other.id)
            }
        }

        impl<T: Number> $Trait<T> for Term<'_, T> {
            type Output = Self;

            fn $method(self, number: T) -> Self {
                self.with(Arithmetic::$Trait, self.builder.constant(number))
            }
        }
    )* };
}
operators! { Add add Sub sub Mul mul Div div }

macro_rules! algebra {
    (
        by_type { $( $(#[$doc:meta])* fn $f:ident($($p:ident: $P:ident)?): $single:path, $double:path; )* }
        by_formula { $( $(#[$formula_doc:meta])* fn $g:ident($me:ident $(, $q:ident: $Q:ident)*) -> Self $body:block )* }
    ) => {
        /// Operators become steps. A function is a call.
        #[allow(unused_variables)]
        impl<T: Number> Algebra<T> for Term<'_, T> {
            $( fn $f(self $(, $p: $P)?) -> Self { self.call() } )*
            $(
                fn $g(self $(, $q: $Q)*) -> Self {
                    match stringify!($g) {
                        "one_minus" => Self { id: self.builder.constant(T::ONE), ..self } - self,
                        "zeros_like" => Self { id: self.builder.constant(T::ZERO), ..self },
                        _ => self.call(),
                    }
                }
            )*
        }
    };
}
vocabulary!(algebra);
