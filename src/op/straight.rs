//! [`Straight`]: a straight-line program on single numbers.
//!
//! An array of a few elements takes more time to address than to compute. Here each element is a number in a register, and
//! each step computes one number. Parts of such arrays, and arrays joined from others, are the same registers under other
//! names: they take no step.

use std::cell::{Cell, RefCell};
use std::iter;
use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use crate::hash::FastMap;
use crate::number::{Algebra, Number, dispatch, vocabulary};
use crate::op::elementwise::{Binary, Unary, select};
use crate::op::tile::{Outside, TileRow};

/// The arithmetic of rows and rules, which takes no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arithmetic {
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

/// What a step computes from the registers `a`, `b` and `c`. Products are rounded before they are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
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
    /// `c + a * b`.
    AddProduct,
    /// `c - a * b`.
    SubProduct,
    /// `a * b - c`.
    ProductSub,
    /// Another row of the table. Its position among the rows is in the place of `a`.
    Row,
}

impl From<Arithmetic> for Code {
    fn from(arithmetic: Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::Add => Self::Add,
            Arithmetic::Sub => Self::Sub,
            Arithmetic::Mul => Self::Mul,
            Arithmetic::Div => Self::Div,
            Arithmetic::Neg => Self::Neg,
        }
    }
}

/// A step: it reads registers and writes one. Registers that it does not read are those of `a`.
#[derive(Clone, Copy, Debug)]
struct Step {
    operands: [u32; 3],
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
    /// The runs of steps with one code, in order: the code, and how many steps.
    codes: Vec<(Code, usize)>,
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
        let codes = self.codes.iter().flat_map(|&(code, count)| iter::repeat_n(code, count));
        let steps = codes.zip(&self.steps).map(|(code, step)| {
            let [a, b, c] = step.operands;
            let text = match code {
                Code::Add => format!("r{a} + r{b}"),
                Code::Sub => format!("r{a} - r{b}"),
                Code::Mul => format!("r{a} * r{b}"),
                Code::Div => format!("r{a} / r{b}"),
                Code::Neg => format!("-r{a}"),
                Code::AddProduct => format!("r{c} + r{a} * r{b}"),
                Code::SubProduct => format!("r{c} - r{a} * r{b}"),
                Code::ProductSub => format!("r{a} * r{b} - r{c}"),
                Code::Row => {
                    let Row { row, operands } = &self.rows[a as usize];
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
        let mut rest = &*program.steps;
        for &(code, count) in &program.codes {
            let (steps, after) = rest.split_at(count);
            rest = after;
            match code {
                Code::Add => each(steps, registers, |r, [a, b, _]| r[a] + r[b]),
                Code::Sub => each(steps, registers, |r, [a, b, _]| r[a] - r[b]),
                Code::Mul => each(steps, registers, |r, [a, b, _]| r[a] * r[b]),
                Code::Div => each(steps, registers, |r, [a, b, _]| r[a] / r[b]),
                Code::Neg => each(steps, registers, |r, [a, ..]| -r[a]),
                Code::AddProduct => each(steps, registers, |r, [a, b, c]| r[c] + r[a] * r[b]),
                Code::SubProduct => each(steps, registers, |r, [a, b, c]| r[c] - r[a] * r[b]),
                Code::ProductSub => each(steps, registers, |r, [a, b, c]| r[a] * r[b] - r[c]),
                Code::Row => each(steps, registers, |r, [a, ..]| program.rows[a].number(simd, r)),
            }
        }
    }
}

/// Runs steps that compute the same function of their registers.
#[inline(always)]
fn each<T>(steps: &[Step], registers: &mut [T], compute: impl Fn(&[T], [usize; 3]) -> T) {
    for step in steps {
        registers[step.target as usize] = compute(registers, step.operands.map(|register| register as usize));
    }
}

impl<T: Number> Row<T> {
    /// Computes the row by its loop, on arrays of one element.
    fn number<S: Simd>(&self, simd: S, registers: &[T]) -> T {
        let operand = |k: usize| [registers[self.operands[k] as usize]];
        let mut y = [T::ZERO];
        match &self.row {
            TileRow::Unary(row) => row.run(simd, &operand(0), &mut y),
            TileRow::Binary(row) => row.run(simd, &operand(0), &operand(1), &mut y),
            TileRow::Select => select(simd, &operand(0), &operand(1), &operand(2), &mut y),
            TileRow::PullUnary(row) => {
                y = operand(0);
                row.run_pull(simd, &mut y, &operand(1), &operand(2));
            }
            TileRow::PullBinary(row, k) => {
                y = operand(0);
                row.run_pull(simd, *k, &mut y, &operand(1), &operand(2), &operand(3));
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
///
/// Equal arithmetic is one step, and steps that change no bit are left out: times 1, minus 0, two signs.
pub struct StraightBuilder<T> {
    made: RefCell<Vec<Made<T>>>,
    constants: RefCell<FastMap<u64, Id>>,
    loads: RefCell<FastMap<(usize, usize), Id>>,
    steps: RefCell<FastMap<(Arithmetic, [Id; 2]), Id>>,
    /// A rule has called a function, which arithmetic alone does not compute.
    called: Cell<bool>,
}

impl<T: Number> StraightBuilder<T> {
    pub(crate) fn new() -> Self {
        Self {
            made: RefCell::new(Vec::new()),
            constants: RefCell::default(),
            loads: RefCell::default(),
            steps: RefCell::default(),
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
        let bits = number.to_f64().to_bits();
        *self.constants.borrow_mut().entry(bits).or_insert_with(|| self.put(Made::Constant(number)))
    }

    /// Returns an element of an array from outside.
    pub(crate) fn load(&self, array: usize, element: usize) -> Id {
        let load = || self.put(Made::Load { array, element });
        *self.loads.borrow_mut().entry((array, element)).or_insert_with(load)
    }

    /// Returns a number that is a constant.
    fn known(&self, id: Id) -> Option<T> {
        match self.made.borrow()[id as usize] {
            Made::Constant(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the number that this one is the negative of.
    fn negated(&self, id: Id) -> Option<Id> {
        match self.made.borrow()[id as usize] {
            Made::Arithmetic(Arithmetic::Neg, [of, _]) => Some(of),
            _ => None,
        }
    }

    /// Returns the factors of a product with a constant.
    fn scaled(&self, id: Id) -> Option<(T, Id)> {
        let Made::Arithmetic(Arithmetic::Mul, [a, b]) = self.made.borrow()[id as usize] else { return None };
        self.known(a).map(|factor| (factor, b)).or_else(|| self.known(b).map(|factor| (factor, a)))
    }

    /// Returns whether a number is never -0: then `x + 0` is `x`.
    fn is_never_minus_zero(&self, id: Id) -> bool {
        match self.made.borrow()[id as usize] {
            Made::Constant(number) => number.to_f64().to_bits() != (-0.0_f64).to_bits(),
            Made::Arithmetic(Arithmetic::Mul, [a, b]) => a == b,
            // Of two numbers, only -0 and -0 have the sum -0. It is enough to look at constants and squares.
            Made::Arithmetic(Arithmetic::Add, [a, b]) => {
                [a, b].into_iter().any(|x| match self.made.borrow()[x as usize] {
                    Made::Constant(number) => number.to_f64().to_bits() != (-0.0_f64).to_bits(),
                    Made::Arithmetic(Arithmetic::Mul, [a, b]) => a == b,
                    _ => false,
                })
            }
            Made::Arithmetic(..) | Made::Load { .. } | Made::Row(..) => false,
        }
    }

    fn arithmetic(&self, arithmetic: Arithmetic, [a, b]: [Id; 2]) -> Id {
        use Arithmetic::{Add, Div, Mul, Neg, Sub};
        let bits = |x: Option<T>| x.map(|x| x.to_f64().to_bits());
        let is = |x: Option<T>, number: f64| bits(x) == Some(number.to_bits());
        let (x, y) = (self.known(a), self.known(b));
        if let (Some(x), Some(y)) = (x, y) {
            return self.constant(arithmetic.of(x, y));
        }
        let (minus_a, minus_b) = (self.negated(a), self.negated(b));
        let negative = |id: Id| self.arithmetic(Neg, [id, id]);
        match (arithmetic, minus_a, minus_b) {
            (Neg, Some(of), _) => return of,
            (Add, _, Some(of)) => return self.arithmetic(Sub, [a, of]),
            (Add, Some(of), None) => return self.arithmetic(Sub, [b, of]),
            (Sub, _, Some(of)) => return self.arithmetic(Add, [a, of]),
            (Mul | Div, Some(a), Some(b)) => return self.arithmetic(arithmetic, [a, b]),
            (Mul | Div, Some(a), None) => return negative(self.arithmetic(arithmetic, [a, b])),
            (Mul | Div, None, Some(b)) => return negative(self.arithmetic(arithmetic, [a, b])),
            _ => {}
        }
        if let (Neg, Some((factor, other))) = (arithmetic, self.scaled(a)) {
            return self.arithmetic(Mul, [self.constant(-factor), other]);
        }
        match arithmetic {
            Mul if is(x, 1.0) => return b,
            Mul | Div if is(y, 1.0) => return a,
            Mul if is(x, -1.0) => return negative(b),
            Mul | Div if is(y, -1.0) => return negative(a),
            Sub if is(y, 0.0) => return a,
            Add if is(x, -0.0) || is(x, 0.0) && self.is_never_minus_zero(b) => return b,
            Add if is(y, -0.0) || is(y, 0.0) && self.is_never_minus_zero(a) => return a,
            _ => {}
        }
        let operands = if matches!(arithmetic, Add | Mul) { [a.min(b), a.max(b)] } else { [a, b] };
        let step = || self.put(Made::Arithmetic(arithmetic, operands));
        *self.steps.borrow_mut().entry((arithmetic, operands)).or_insert_with(step)
    }

    /// Returns the sum of a number and others, one after the other.
    pub(crate) fn sum(&self, first: Id, numbers: &[Id]) -> Id {
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
        // How often each number is read. What is stored is read once more.
        let mut reads: Vec<usize> = vec![0; made.len()];
        arrays.iter().copied().flatten().for_each(|&id| reads[id as usize] += 1);
        for (position, number) in made.iter().enumerate().rev() {
            if reads[position] > 0 {
                number.operands().iter().for_each(|&operand| reads[operand as usize] += 1);
            }
        }
        // A product that only a sum or a difference reads is a part of its step.
        let product = |id: Id| match made[id as usize] {
            Made::Arithmetic(Arithmetic::Mul, factors) if reads[id as usize] == 1 => Some(factors),
            _ => None,
        };
        let step = |number: &Made<T>| -> Option<(Code, SmallVec<[Id; 3]>)> {
            let &Made::Arithmetic(arithmetic, [a, b]) = number else { return None };
            let fused = match (arithmetic, product(a), product(b)) {
                (Arithmetic::Add, _, Some([c, d])) => Some((Code::AddProduct, [c, d, a])),
                (Arithmetic::Add, Some([c, d]), None) => Some((Code::AddProduct, [c, d, b])),
                (Arithmetic::Sub, _, Some([c, d])) => Some((Code::SubProduct, [c, d, a])),
                (Arithmetic::Sub, Some([c, d]), None) => Some((Code::ProductSub, [c, d, b])),
                _ => None,
            };
            Some(match fused {
                Some((code, operands)) => (code, SmallVec::from_slice(&operands)),
                None => (arithmetic.into(), SmallVec::from_slice(number.operands())),
            })
        };
        let steps: Vec<Option<(Code, SmallVec<[Id; 3]>)>> =
            made.iter().zip(&reads).map(|(number, &reads)| if reads > 0 { step(number) } else { None }).collect();
        let mut inside = vec![false; made.len()];
        for (number, step) in made.iter().zip(&steps) {
            if let (Made::Arithmetic(_, operands), Some((code, _))) = (number, step) {
                match code {
                    Code::AddProduct | Code::SubProduct => {
                        let second = product(operands[1]).is_some();
                        inside[operands[usize::from(second)] as usize] = true;
                    }
                    Code::ProductSub => inside[operands[0] as usize] = true,
                    _ => {}
                }
            }
        }

        let mut program = Straight {
            constants: Vec::new(),
            loads: Vec::new(),
            codes: Vec::new(),
            steps: Vec::new(),
            rows: Vec::new(),
            stores: Vec::new(),
            registers: 0,
        };
        let mut register: Vec<u32> = vec![0; made.len()];
        let needed = || made.iter().enumerate().filter(|&(position, _)| reads[position] > 0 && !inside[position]);
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
        let mut loads: FastMap<usize, usize> = FastMap::default();
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
        let operands = |position: usize| match &steps[position] {
            Some((_, operands)) => operands.as_slice(),
            None => made[position].operands(),
        };
        let code = |position: usize| match (&made[position], &steps[position]) {
            (Made::Row(..), _) => Some(Code::Row),
            (_, step) => step.as_ref().map(|&(code, _)| code),
        };
        let computed = || needed().filter_map(|(position, _)| Some((position, code(position)?)));
        let order = in_runs(computed().collect(), made.len(), operands);
        // The last step that reads a number. A number that is stored is read after all steps.
        let mut last: Vec<usize> = vec![0; made.len()];
        for &(position, _) in &order {
            operands(position).iter().for_each(|&operand| last[operand as usize] = position);
        }
        arrays.iter().copied().flatten().for_each(|&id| last[id as usize] = usize::MAX);
        let mut free: Vec<u32> = Vec::new();
        for (position, code) in order {
            let read = operands(position);
            let registers: SmallVec<[u32; 4]> = read.iter().map(|&id| register[id as usize]).collect();
            let places = match &made[position] {
                Made::Row(row, _) => {
                    program.rows.push(Row { row: row.clone(), operands: registers });
                    let place = u32::try_from(program.rows.len() - 1).expect("fewer rows than 2³²");
                    [place; 3]
                }
                _ => [0, 1, 2].map(|k| *registers.get(k).unwrap_or(&registers[0])),
            };
            // Numbers that are read for the last time give their registers to later ones, to this one first.
            for (k, &operand) in read.iter().enumerate() {
                let constant = matches!(made[operand as usize], Made::Constant(_));
                if last[operand as usize] == position && !constant && !read[..k].contains(&operand) {
                    free.push(register[operand as usize]);
                }
            }
            register[position] = free.pop().unwrap_or_else(|| new(&mut program));
            match program.codes.last_mut() {
                Some((last, count)) if *last == code => *count += 1,
                _ => program.codes.push((code, 1)),
            }
            program.steps.push(Step { operands: places, target: register[position] });
        }
        program.stores = arrays.iter().map(|array| array.iter().map(|&id| register[id as usize]).collect()).collect();
        program
    }
}

/// The number of neighbouring steps that may change places.
const WINDOW: usize = 32;

/// Puts steps of one code beside each other: what comes next is decided once for all of them. No step moves before one whose
/// number it reads. Steps stay near their places, so that their numbers need few registers.
fn in_runs<'s>(mut order: Vec<(usize, Code)>, made: usize, operands: impl Fn(usize) -> &'s [Id]) -> Vec<(usize, Code)> {
    let mut waits = vec![false; made];
    for window in order.chunks_mut(WINDOW) {
        let mut rest: SmallVec<[(usize, Code); WINDOW]> = SmallVec::from_slice(window);
        rest.iter().for_each(|&(position, _)| waits[position] = true);
        let mut next = window.iter_mut();
        while let Some(&(_, code)) = rest.first() {
            rest.retain(|&mut (position, own)| {
                let stays = own != code || operands(position).iter().any(|&operand| waits[operand as usize]);
                if !stays && let Some(place) = next.next() {
                    waits[position] = false;
                    *place = (position, code);
                }
                stays
            });
        }
    }
    order
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
