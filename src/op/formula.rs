//! [`Term`]: the language of the table on names. A row's derivative that runs on names writes its formula.
//!
//! So the words of an elementwise rule are the rule itself, and cannot differ from it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LN_10};
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::number::{Algebra, Number};
use crate::op::rows::{GELU_SLOPE, NORMAL_DENSITY};

/// A part of a formula. Parts refer to each other by their numbers on the sheet.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Name(String),
    Number(String),
    Neg(usize),
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
    Div(usize, usize),
    Power(usize, usize),
    /// A function with its arguments.
    Call(&'static str, Vec<usize>),
    Abs(usize),
    Root(usize),
    /// The value where the condition holds, else the other.
    Cases(usize, Condition, usize),
}

/// When a case holds.
#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Positive(usize),
    Equal(usize, usize),
    Between(usize, usize, usize),
}

/// How tightly a part binds, from the loosest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Cases,
    Sum,
    Product,
    Power,
    Atom,
}

/// What formulas are written on.
pub(super) struct Sheet {
    parts: RefCell<Vec<Part>>,
    /// The sign between two factors.
    times: &'static str,
}

impl Sheet {
    /// Returns an empty sheet. Between two arrays the product element by element has a sign of its own, `⊙`: without a
    /// sign it would be read as a product of matrices.
    pub(super) fn new(rank: usize) -> Self {
        Self { parts: RefCell::default(), times: if rank == 0 { " " } else { " ⊙ " } }
    }

    /// Writes a name.
    pub(super) fn name(&self, name: &str) -> Term<'_> {
        self.put(Part::Name(name.into()))
    }

    /// Writes a number.
    pub(super) fn number<T: Number>(&self, x: T) -> Term<'_> {
        if x < T::ZERO { -self.put(Part::Number(spelled(-x))) } else { self.put(Part::Number(spelled(x))) }
    }

    /// Writes a function with its arguments.
    pub(super) fn call<'a>(&'a self, function: &'static str, arguments: &[Term<'a>]) -> Term<'a> {
        self.put(Part::Call(function, arguments.iter().map(|argument| argument.id).collect()))
    }

    /// Returns the part, which is written once.
    fn put(&self, part: Part) -> Term<'_> {
        let mut parts = self.parts.borrow_mut();
        let id = parts.iter().position(|known| *known == part).unwrap_or_else(|| {
            parts.push(part);
            parts.len() - 1
        });
        Term { sheet: self, id }
    }

    fn part(&self, id: usize) -> Part {
        self.parts.borrow()[id].clone()
    }

    /// Returns the parts that a part refers to.
    fn inner(&self, id: usize) -> Vec<usize> {
        match self.part(id) {
            Part::Name(_) | Part::Number(_) => Vec::new(),
            Part::Neg(a) | Part::Abs(a) | Part::Root(a) => vec![a],
            Part::Add(a, b) | Part::Sub(a, b) | Part::Mul(a, b) | Part::Div(a, b) | Part::Power(a, b) => vec![a, b],
            Part::Call(_, arguments) => arguments,
            Part::Cases(a, Condition::Positive(mask), b) => vec![a, mask, b],
            Part::Cases(a, Condition::Equal(left, right), b) => vec![a, left, right, b],
            Part::Cases(a, Condition::Between(low, x, high), b) => vec![a, low, x, high, b],
        }
    }

    fn is_number(&self, id: usize, number: &str) -> bool {
        matches!(&self.parts.borrow()[id], Part::Number(text) if text == number)
    }
}

/// A part of a formula on a sheet.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    sheet: &'a Sheet,
    id: usize,
}

/// From this length on, a part that a formula needs twice is written once, under a letter.
const SHARED: usize = 10;

/// The letters of such parts.
const LETTERS: [&str; 6] = ["r", "s", "t", "u", "p", "q"];

impl<'a> Term<'a> {
    /// Returns the formula as text.
    pub(super) fn text(self) -> String {
        let (mut uses, mut seen, mut open) = (BTreeMap::<usize, usize>::new(), vec![self.id], vec![self.id]);
        while let Some(id) = open.pop() {
            for inner in self.sheet.inner(id) {
                *uses.entry(inner).or_default() += 1;
                if !seen.contains(&inner) {
                    seen.push(inner);
                    open.push(inner);
                }
            }
        }
        let taken = |letter: &str| self.sheet.parts.borrow().contains(&Part::Name(letter.into()));
        let mut letters = LETTERS.into_iter().filter(|letter| !taken(letter));
        let (mut named, mut clauses) = (BTreeMap::new(), Vec::new());
        // Inner parts come first on the sheet.
        for (&id, &count) in &uses {
            let (text, _) = self.written(id, &named);
            let compound = !self.sheet.inner(id).is_empty();
            if count > 1
                && compound
                && text.chars().count() >= SHARED
                && let Some(letter) = letters.next()
            {
                clauses.push(format!("{letter} = {text}"));
                named.insert(id, letter);
            }
        }
        let (text, _) = self.written(self.id, &named);
        if clauses.is_empty() { text } else { format!("{text} with {}", clauses.join(", ")) }
    }

    /// Returns a part as text, with parentheses if it binds less tightly than `least`.
    fn within(self, id: usize, named: &BTreeMap<usize, &str>, least: Binding) -> String {
        if let Some(letter) = named.get(&id) {
            return (*letter).into();
        }
        let (text, binding) = self.written(id, named);
        if binding < least { format!("({text})") } else { text }
    }

    /// Returns a part as text, and how tightly it binds.
    fn written(self, id: usize, named: &BTreeMap<usize, &str>) -> (String, Binding) {
        let within = |id, least| self.within(id, named, least);
        match self.sheet.part(id) {
            Part::Name(name) => (name, Binding::Atom),
            Part::Number(number) => {
                // Of several signs: beside other factors it stands in parentheses.
                let binding = if number.contains(['-', ' ', '/']) { Binding::Sum } else { Binding::Atom };
                let exponent = number.starts_with(|c: char| c.is_ascii_digit()) && number.contains("e-");
                (number, if exponent { Binding::Atom } else { binding })
            }
            Part::Neg(a) => (format!("-{}", within(a, Binding::Product)), Binding::Sum),
            Part::Add(a, b) => match self.sheet.part(b) {
                Part::Neg(b) => {
                    (format!("{} - {}", within(a, Binding::Sum), within(b, Binding::Product)), Binding::Sum)
                }
                _ => (format!("{} + {}", within(a, Binding::Sum), within(b, Binding::Product)), Binding::Sum),
            },
            Part::Sub(a, b) => (format!("{} - {}", within(a, Binding::Sum), within(b, Binding::Product)), Binding::Sum),
            Part::Mul(a, b) => {
                let times = if matches!(self.sheet.part(a), Part::Number(_)) { " " } else { self.sheet.times };
                (format!("{}{times}{}", within(a, Binding::Product), within(b, Binding::Product)), Binding::Product)
            }
            Part::Div(a, b) => {
                (format!("{} / {}", within(a, Binding::Product), within(b, Binding::Power)), Binding::Product)
            }
            Part::Power(a, b) => {
                let base = within(a, Binding::Atom);
                let text = match self.sheet.part(b) {
                    Part::Number(number) if number == "2" => format!("{base}²"),
                    Part::Number(number) if number == "3" => format!("{base}³"),
                    _ => format!("{base}^{}", within(b, Binding::Atom)),
                };
                (text, Binding::Power)
            }
            Part::Call(function, arguments) => {
                let arguments: Vec<String> = arguments.iter().map(|&id| within(id, Binding::Sum)).collect();
                (format!("{function}({})", arguments.join(", ")), Binding::Atom)
            }
            Part::Abs(a) => (format!("|{}|", within(a, Binding::Sum)), Binding::Atom),
            Part::Root(a) => (format!("√{}", within(a, Binding::Atom)), Binding::Power),
            Part::Cases(value, condition, other) => {
                let (value, other) = (within(value, Binding::Sum), within(other, Binding::Sum));
                let sum = |id| within(id, Binding::Sum);
                let condition = match condition {
                    Condition::Positive(mask) => match self.sheet.part(mask) {
                        Part::Neg(mask) => format!("{} < 0", sum(mask)),
                        _ => format!("{} > 0", sum(mask)),
                    },
                    Condition::Equal(a, b) => format!("{} = {}", sum(a), sum(b)),
                    Condition::Between(low, x, high) => format!("{} < {} < {}", sum(low), sum(x), sum(high)),
                };
                (format!("{value} where {condition}, else {other}"), Binding::Cases)
            }
        }
    }

    /// Returns `self^exponent`.
    fn power(self, exponent: Term<'a>) -> Self {
        let sheet = self.sheet;
        match (sheet.part(self.id), sheet.is_number(exponent.id, "2")) {
            _ if sheet.is_number(exponent.id, "1") || sheet.is_number(self.id, "1") => self,
            (Part::Root(inside), true) => Term { sheet, id: inside },
            _ => sheet.put(Part::Power(self.id, exponent.id)),
        }
    }

    fn raised(self, exponent: &str) -> Self {
        self.power(self.sheet.put(Part::Number(exponent.into())))
    }

    fn zero(self) -> Self {
        self.sheet.put(Part::Number("0".into()))
    }

    fn one(self) -> Self {
        self.sheet.put(Part::Number("1".into()))
    }

    /// Returns the value where a condition holds, else the other.
    fn cases(self, condition: Condition, other: Self) -> Self {
        self.sheet.put(Part::Cases(self.id, condition, other.id))
    }

    /// Returns the larger of the value and 0, as a rectifier is written.
    pub(super) fn or_zero(self) -> Self {
        self.sheet.call("max", &[self.zero(), self])
    }
}

impl Neg for Term<'_> {
    type Output = Self;

    fn neg(self) -> Self {
        match self.sheet.part(self.id) {
            Part::Neg(a) => Term { sheet: self.sheet, id: a },
            _ => self.sheet.put(Part::Neg(self.id)),
        }
    }
}

impl Add for Term<'_> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sheet = self.sheet;
        if sheet.is_number(self.id, "0") {
            return other;
        }
        if self.id == other.id {
            let two = sheet.put(Part::Number("2".into()));
            return two * self;
        }
        sheet.put(Part::Add(self.id, other.id))
    }
}

impl Sub for Term<'_> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.sheet.put(Part::Sub(self.id, other.id))
    }
}

impl Mul for Term<'_> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let sheet = self.sheet;
        if self.id == other.id {
            return self.raised("2");
        }
        match (sheet.part(self.id), sheet.part(other.id)) {
            (Part::Neg(a), _) => -(Term { sheet, id: a } * other),
            (_, Part::Neg(b)) => -(self * Term { sheet, id: b }),
            (Part::Power(a, two), _) if a == other.id && sheet.is_number(two, "2") => other.raised("3"),
            // A number stands before what it multiplies.
            (Part::Number(_), _) | (_, Part::Name(_)) => sheet.put(Part::Mul(self.id, other.id)),
            (_, Part::Number(_)) => sheet.put(Part::Mul(other.id, self.id)),
            _ => sheet.put(Part::Mul(self.id, other.id)),
        }
    }
}

impl Div for Term<'_> {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let sheet = self.sheet;
        match sheet.part(self.id) {
            Part::Neg(a) => -(Term { sheet, id: a } / other),
            Part::Div(a, b) if b == other.id => sheet.put(Part::Div(a, other.raised("2").id)),
            _ => sheet.put(Part::Div(self.id, other.id)),
        }
    }
}

impl<T: Number> Add<T> for Term<'_> {
    type Output = Self;

    fn add(self, number: T) -> Self {
        self + self.sheet.number(number)
    }
}

impl<T: Number> Sub<T> for Term<'_> {
    type Output = Self;

    fn sub(self, number: T) -> Self {
        self - self.sheet.number(number)
    }
}

impl<T: Number> Mul<T> for Term<'_> {
    type Output = Self;

    fn mul(self, number: T) -> Self {
        self * self.sheet.number(number)
    }
}

impl<T: Number> Div<T> for Term<'_> {
    type Output = Self;

    fn div(self, number: T) -> Self {
        self / self.sheet.number(number)
    }
}

/// Writes the functions that are written as calls.
macro_rules! calls {
    ($($function:ident)*) => { $(
        fn $function(self) -> Self {
            self.sheet.call(stringify!($function), &[self])
        }
    )* };
}

impl<T: Number> Algebra<T> for Term<'_> {
    calls! {
        ln log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf erfc sign floor ceil round lgamma
        digamma
    }

    fn exp(self) -> Self {
        self.sheet.name("e").power(self)
    }

    fn exp2(self) -> Self {
        self.sheet.put(Part::Number("2".into())).power(self)
    }

    fn remainder(self, divisor: Self) -> Self {
        self.sheet.call("remainder", &[self, divisor])
    }

    fn polygamma(self, order: T) -> Self {
        self.sheet.call("polygamma", &[self, self.sheet.number(order)])
    }

    fn exp_m1(self) -> Self {
        Algebra::<T>::exp(self) - self.one()
    }

    fn ln_1p(self) -> Self {
        Algebra::<T>::ln(self.one() + self)
    }

    fn sqrt(self) -> Self {
        self.sheet.put(Part::Root(self.id))
    }

    fn abs(self) -> Self {
        self.sheet.put(Part::Abs(self.id))
    }

    fn atan2(self, x: Self) -> Self {
        self.sheet.call("atan2", &[self, x])
    }

    fn powf(self, exponent: T) -> Self {
        self.power(self.sheet.number(exponent))
    }

    fn pow(self, exponent: Self) -> Self {
        self.power(exponent)
    }

    fn hypot(self, other: Self) -> Self {
        Algebra::<T>::sqrt(self * self + other * other)
    }

    fn maximum(self, other: Self) -> Self {
        self.sheet.call("max", &[self, other])
    }

    fn clamp(self, low: T, high: T) -> Self {
        self.sheet.call("clamp", &[self, self.sheet.number(low), self.sheet.number(high)])
    }

    fn one_minus(self) -> Self {
        self.one() - self
    }

    fn zeros_like(self) -> Self {
        self.zero()
    }

    fn where_positive(self, mask: Self) -> Self {
        match self.sheet.part(mask.id) {
            // The mask is 1 where its condition holds, else 0.
            Part::Cases(_, condition, _) => self.cases(condition, self.zero()),
            _ => self.cases(Condition::Positive(mask.id), self.zero()),
        }
    }

    fn in_range_mask(self, low: T, high: T) -> Self {
        let (low, high) = (self.sheet.number(low), self.sheet.number(high));
        self.one().cases(Condition::Between(low.id, self.id, high.id), self.zero())
    }

    fn tie_weight(self, other: Self) -> Self {
        self.sheet.call("tie_weight", &[self, other])
    }

    fn equal(self, other: Self) -> Self {
        self.one().cases(Condition::Equal(self.id, other.id), self.zero())
    }

    fn leaky_slope(self, slope: T) -> Self {
        self.one().cases(Condition::Positive(self.id), self.sheet.number(slope))
    }

    fn elu_slope(self, alpha: T) -> Self {
        self.one().cases(Condition::Positive(self.id), Algebra::<T>::exp(self) * self.sheet.number(alpha))
    }

    fn exp_difference(self, other: Self) -> Self {
        Algebra::<T>::exp(self - other)
    }

    fn multiply_no_nan(self, factor: Self) -> Self {
        self * factor
    }

    fn zero_divide(self, divisor: Self) -> Self {
        self / divisor
    }

    fn divide_no_nan(self, divisor: Self) -> Self {
        self / divisor
    }
}

/// The numbers of the table that have a name.
const CONSTANTS: [(f64, &str); 6] = [
    (LN_2, "ln 2"),
    (LN_10, "ln 10"),
    (FRAC_2_SQRT_PI, "2/√π"),
    (FRAC_1_SQRT_2, "1/√2"),
    (NORMAL_DENSITY, "1/√(2π)"),
    (GELU_SLOPE, "2 √(2/π)"),
];

/// Returns a number as text, with at most six digits.
pub(super) fn spelled<T: Number>(x: T) -> String {
    for (value, name) in CONSTANTS {
        if x == T::from_f64(value) {
            return name.into();
        }
    }
    let size = x.to_f64().abs();
    let plain = size == 0.0 || !size.is_finite() || (1e-4..1e6).contains(&size);
    let exact = if plain { x.to_string() } else { format!("{x:e}") };
    if exact.trim_start_matches('-').len() <= 8 || !size.is_finite() {
        return exact;
    }
    let (digits, exponent) = match format!("{:.5e}", x.to_f64()).split_once('e') {
        Some((digits, exponent)) => (digits.to_string(), exponent.to_string()),
        None => return exact,
    };
    let cut = |digits: &str| digits.trim_end_matches('0').trim_end_matches('.').to_string();
    if plain {
        let before: i32 = exponent.parse().unwrap_or(0);
        let decimals = usize::try_from(5 - before).unwrap_or(0);
        let text = format!("{:.decimals$}", x.to_f64());
        if text.contains('.') { cut(&text) } else { text }
    } else {
        format!("{}e{exponent}", cut(&digits))
    }
}
