//! The page of edge cases, `src/edge_cases.md`, is what the library does: every row of its tables is run.
//!
//! A row is a piece of code and the point where it runs. The code on the page is the code below, in `expressions` or
//! `programs`, compared token by token; the point is read from the page. What the page says of PyTorch is written by
//! `edge_cases.py`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, IxDyn, array};
use tapegrad::KeepDims::No;
use tapegrad::Reduction::{Mean, Sum};
use tapegrad::{Param, Scalar, Tape, Var};

const PAGE: &str = include_str!("../src/edge_cases.md");
const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// The operands of a row, by the names that the page gives them.
struct Operands<'t, T>(Vec<(String, Var<'t, T>)>);

impl<'t, T: Scalar> Operands<'t, T> {
    /// Puts the operands on a tape: targets `t` as constants, the others as leaves.
    fn new(tape: &'t Tape<T>, point: &[(String, ArrayD<f64>)]) -> Self {
        let put = |(name, array): &(String, ArrayD<f64>)| {
            let array = array.mapv(T::from_f64);
            (name.clone(), if name == "t" { tape.constant(array) } else { tape.leaf(array) })
        };
        Self(point.iter().map(put).collect())
    }

    fn named(&self, name: &str) -> Var<'t, T> {
        let operand = self.0.iter().find(|operand| operand.0 == name);
        operand.unwrap_or_else(|| panic!("the row gives no operand {name}")).1
    }

    fn leaves(&self) -> impl Iterator<Item = &(String, Var<'t, T>)> {
        self.0.iter().filter(|operand| operand.0 != "t")
    }
}

type Expression<T> = for<'t> fn(&Operands<'t, T>) -> Var<'t, T>;
type Program = for<'t> fn(&'t Tape<f64>, &Operands<'t, f64>) -> String;

/// The expressions of the page, as their code and a function, for one type of numbers.
macro_rules! expressions {
    ($table:ident, $T:ty) => {
        fn $table() -> &'static [(&'static str, Expression<$T>)] {
            entries! { Expression<$T>:
                x: x.relu();
                x: x.abs();
                x: x.abs().sqrt();
                x: x.sign();
                x: x.clamp(-1.0, 1.0);
                x: x.clamp(0.0, 1.0 / 0.0);
                x: x.leaky_relu(0.25);
                x: x.elu(0.5);
                x: x.huber(1.0);
                a b: a.maximum(b);
                a b: a.minimum(b);
                x: x.maximum(x);
                a b: a.maximum(b).sqrt();
                x: x.relu6();
                x: x.hardtanh();
                x: x.hardswish();
                x: x.selu();
                x: x.celu(0.5);
                x: x.prelu(0.25);
                x: x.softsign();
                x: x.maximum(0.0);
                x: x.clamp_min(0.0);
                x: x.floor();
                x: x.round();
                a b: a.remainder(b);
                a b: a.xlogy(b);
                x: x.mish();
                a b: a.logaddexp(b);
                x: x.lgamma();
                x: x.digamma();
                x: x.cumprod(0);
                x: x.logcumsumexp(0);
                x: x.cummax(0);
                x: x.cummin(0);
                x: x.lp_norm(3.0);
                x: x.lp_norm(0.5);
                a b: a.cosine_similarity(b, 0, 1e-8);
                x: x.sort(0);
                x: x.powf(0.0);
                x: x.powf(1.0);
                x: x.powf(2.0);
                x: x.powf(3.0);
                x: x.powf(0.5);
                x: x.powf(1.5);
                x: x.powf(-1.0);
                a b: a.pow(b);
                x: x.square();
                x: x.sqrt();
                x: x.square().sqrt();
                x: x.rsqrt();
                x: x.recip();
                a b: a / b;
                a b: a * b;
                x: x / 0.0;
                x: 1.0 / x;
                x: x - x;
                x: x * 0.0;
                x: x.ln();
                x: x.log2();
                x: x.log10();
                x: x.ln_1p();
                x: x * x.ln();
                x: x.exp();
                x: x.exp_m1();
                x: x.sigmoid();
                x: x.tanh();
                x: x.softplus();
                x: x.log_sigmoid();
                x: x.gelu();
                x: x.gelu_tanh();
                x: x.silu();
                x: x.erf();
                x: x.erfc();
                x: x.sin();
                x: x.asin();
                x: x.acos();
                x: x.atan();
                x: x.acosh();
                x: x.atanh();
                a b: a.atan2(b);
                a b: a.hypot(b);
                a b: a.hypot(b).sqrt();
                x: x.max();
                x: x.max_axes([1], No);
                x: x.max().sqrt();
                x: x.min();
                x: x.sum();
                x: x.mean();
                x: x.prod();
                x: x.norm();
                x: x.norm().sqrt();
                x: x.logsumexp();
                x: x.var(1);
                x: x.var(0);
                x: x.var(3);
                x: x.std(1);
                x: x.std(0);
                x: x.cumsum(0);
                x: x.softmax(0).slice(0, 0..1);
                x: x.log_softmax(0).slice(0, 0..1);
                x: x.softmax(0).ln().slice(0, 0..1);
                x: x.softmax(1);
                a b: Var::select(&array![true, false], a, b);
                a b: Var::select(&array![true], a, b).sqrt();
                a b: Var::select(&array![true], a, b.ln());
                x: x.index_select(0, &[0, 0, 2]);
                x: x.gather(0, &array![0, 0, 2]);
                a b: a.scatter_add(0, &array![1, 1], b);
                x: x.pick(&[1, 1]);
                x: x.index_select(0, &[]);
                x: x.index_select(0, &[2]);
                x: x.slice(0, 1..1);
                x: x.tril(0);
                x: x.triu(0);
                x: x.pad([(1, 0)], 0.0);
                x: x.tile([3]);
                a b: Var::concat(&[a, b], 0);
                x: x.reshape([0]);
                x t: x.mse_loss(t, Sum);
                x t: x.mse_loss(t, Mean);
                x t: x.l1_loss(t, Sum);
                x t: x.l1_loss(t, Sum).sqrt();
                x t: x.huber_loss(t, 1.0, Sum);
                x t: x.hinge_loss(t, Sum);
                x t: x.perceptron_loss(t, Sum);
                x: x.cross_entropy_labels(&[0], Sum);
                x: x.cross_entropy_labels(&[1], Sum);
                x: x.cross_entropy_labels(&[2], Sum);
                x: x.cross_entropy_labels(&[], Mean);
                x t: x.cross_entropy(t, Sum);
                x: x.nll_loss(&[1], Sum);
                x t: x.binary_cross_entropy(t, Sum);
                x t: x.binary_cross_entropy_with_logits(t, Sum);
                x t: x.kl_div(t, Sum);
                x b: x.kl_div(b, Sum);
                x t: x.course_cross_entropy(t, Sum);
                x: x.max_pool2d(2, 1);
                x: x.avg_pool2d(2, 1);
                x: x.avg_pool2d(3, 1);
                x w: x.conv2d(w, None, 1, 0);
                x w b: x.layer_norm(w, b, 1e-5);
                x w b: x.layer_norm(w, b, 0.0);
                x w b: x.batch_norm(w, b, 1e-5);
                a b: a.matmul(b);
                x: x.det();
                x: x.inv();
                a b: a.solve(b);
                x: x.logdet();
                x: x.cholesky();
                x: x.trace();
                x: x.eigvalsh();
                x: x.eigvalsh().square();
                x: x.eigh().1.slice(0, 0..1);
                x: x.qr().1;
                x: x.svdvals();
                a b: a + b;
                x: x.sum_axes([], No);
                x: x.sum_axes([0], No);
                x: x.sum_axes([0, 0], No);
                x: x.broadcast_to([2, 0]);
            }
        }
    };
}

macro_rules! entries {
    ($Entry:ty: $($($operand:ident)+: $code:expr;)*) => {{
        const TABLE: &[(&str, $Entry)] = &[$((stringify!($code), |operands| {
            $(let $operand = operands.named(stringify!($operand));)+
            $code
        })),*];
        TABLE
    }};
}

expressions!(double, f64);
expressions!(single, f32);

macro_rules! programs {
    ($($tape:ident $($operand:ident)*: $code:block;)*) => {
        /// The programs of the page, as their code and a function that says what came out.
        #[allow(unused_variables)]
        fn programs() -> &'static [(&'static str, Program)] {
            const TABLE: &[(&str, Program)] = &[$((stringify!($code), |$tape, operands| {
                $(let $operand = operands.named(stringify!($operand));)*
                $code.show()
            })),*];
            TABLE
        }
    };
}

programs! {
    tape x: { (x * x).backward(); x.grad() };
    tape x: { let y = x.square(); (y + y).backward(); x.grad() };
    tape x: { let y = x.square(); y.backward(); y.backward(); x.grad() };
    tape x: { x.square().backward(); tape.zero_grad(); x.grad() };
    tape x: { x.square().backward(); tape.zero_grad(); x.square().backward(); x.grad() };
    tape x a: { x.square().backward(); a.grad() };
    tape x a: { (x + a * 0.0).backward(); a.grad() };
    tape x a: { let y = Var::select(&array![true], x, a); y.sum().backward(); a.grad() };
    tape x a: { x.square().grads_or_none(&[x, a])[1].is_none() };
    tape x a: { x.square().grad_wrt(a).item() };
    tape x: { x.square().backward() };
    tape x: { x.square().backward(); x.grad() };
    tape x: { x.square().sum().backward(); x.grad() };
    tape x: { x.square().backward_with(array![1.0, 10.0]); x.grad() };
    tape x: { x.square().backward_with(1.0) };
    tape x: { x.relu().backward_with(array![INF, 1.0]); x.grad() };
    tape x: { let slope = x.norm().grad_wrt(x); slope.square().sum().backward(); x.grad() };
    tape x: { x.square().backward_with(array![0.0, NAN]); x.grad() };
    tape x: { x.sqrt().backward_with(array![0.0]); x.grad() };
    tape: { tape.constant(3.0).square().backward() };
    tape x: { let c = tape.constant(3.0); (c * x).backward(); c.grad() };
    tape x t: { (x * t).backward(); (x.grad(), t.grad()) };
    tape x: { x.backward(); x.grad() };
    tape x: { let y = x.square(); y.backward(); y.grad() };
    tape x: { let y = x.square(); (y * 2.0).grad_wrt(y).item() };
    tape x: { let _ = x.square().grad_wrt(x); x.grad() };
    tape x: { let first = x.square().grad_wrt(x); first.backward(); x.grad() };
    tape x: { let first = (x * 2.0).grad_wrt(x); first.grads_or_none(&[x])[0].is_none() };
    tape x: { x.item() };
    tape x: { let other = Tape::new(); (x + other.leaf(2.0)).item() };
    tape: {
        let w = Param::new(array![3.0]);
        let y = tape.param(&w).square();
        w.set_value(array![5.0]);
        y.sum().backward();
        w.grad()
    };
}

/// What a program comes to, as the page prints it.
trait Show {
    fn show(&self) -> String;
}

impl Show for f64 {
    fn show(&self) -> String {
        number(*self, 13)
    }
}

impl Show for () {
    fn show(&self) -> String {
        "()".into()
    }
}

impl Show for Option<Arc<ArrayD<f64>>> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "None".into(), |array| array.view().show())
    }
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for usize {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for Option<ArrayViewD<'_, f64>> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "None".into(), Show::show)
    }
}

impl Show for ArrayViewD<'_, f64> {
    fn show(&self) -> String {
        text(self, 13)
    }
}

impl<A: Show, B: Show> Show for (A, B) {
    fn show(&self) -> String {
        format!("({}, {})", self.0.show(), self.1.show())
    }
}

/// Returns a number with as many digits, or fewer if it has fewer.
fn number(x: f64, digits: usize) -> String {
    let rounded: f64 = format!("{x:.*e}", digits - 1).parse().expect("a number");
    match rounded.abs() {
        0.0 => "0".into(),
        1e-4..1e6 => rounded.to_string(),
        size if size.is_finite() => format!("{rounded:e}"),
        _ => rounded.to_string(),
    }
}

/// Returns an array as nested lists.
fn text(array: &ArrayViewD<'_, f64>, digits: usize) -> String {
    match array.shape() {
        [] => number(array.sum(), digits),
        // Nested lists would not say how long the other axes are.
        [_, _, ..] if array.is_empty() => {
            let lengths: Vec<String> = array.shape().iter().map(usize::to_string).collect();
            format!("zeros({})", lengths.join(", "))
        }
        _ => {
            let parts: Vec<String> = array.outer_iter().map(|part| text(&part, digits)).collect();
            format!("[{}]", parts.join(", "))
        }
    }
}

/// Splits at the commas that lie in no brackets.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (vec![], 0, 0);
    for (i, c) in list.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    let last = list[start..].trim();
    parts.extend((!last.is_empty()).then_some(last));
    parts
}

/// Reads a number, nested lists, or `zeros(2, 0)`.
fn parse(text: &str) -> Option<ArrayD<f64>> {
    fn read(text: &str, numbers: &mut Vec<f64>) -> Option<Vec<usize>> {
        let Some(list) = text.strip_prefix('[') else {
            numbers.push(text.parse().ok()?);
            return Some(vec![]);
        };
        let parts = split(list.strip_suffix(']')?);
        let mut shape = vec![parts.len()];
        for (i, part) in parts.into_iter().enumerate() {
            let inner = read(part, numbers)?;
            if i == 0 {
                shape.extend(inner);
            } else if inner != shape[1..] {
                return None;
            }
        }
        Some(shape)
    }
    if let Some(shape) = text.strip_prefix("zeros(") {
        let shape: Option<Vec<usize>> = split(shape.strip_suffix(')')?).iter().map(|n| n.parse().ok()).collect();
        return Some(ArrayD::zeros(shape?));
    }
    let mut numbers = vec![];
    let shape = read(text, &mut numbers)?;
    ArrayD::from_shape_vec(IxDyn(&shape), numbers).ok()
}

/// A row of a table of the page.
struct Row {
    line: String,
    code: String,
    point: Vec<(String, ArrayD<f64>)>,
    /// In which types of numbers it holds.
    single: bool,
    double: bool,
    /// Value, gradient and second derivative, or what a program comes to.
    results: Vec<String>,
    pytorch: String,
    why: String,
}

fn rows() -> Vec<Row> {
    let unquoted = |cell: &&str| cell.trim().trim_matches('`').to_owned();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [code, point, results @ .., pytorch, why] = &*cells else { panic!("too few cells: {line}") };
        let (single, double) = (point.contains("f32"), point.contains("f64"));
        let point = point.replace("f32", "").replace("f64", "");
        let operands = unquoted(&&*point);
        let operand = |part: &str| {
            let (name, array) = part.split_once(" = ").unwrap_or_else(|| panic!("{part} in {line}"));
            (name.trim().to_owned(), parse(array.trim()).unwrap_or_else(|| panic!("{part} in {line}")))
        };
        Row {
            line: line.to_owned(),
            code: unquoted(code),
            point: operands.split(';').filter(|part| !part.trim().is_empty()).map(operand).collect(),
            single: single || !double,
            double: double || !single,
            results: results.iter().map(unquoted).collect(),
            pytorch: pytorch.trim().to_owned(),
            why: why.trim().to_owned(),
        }
    };
    PAGE.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

/// Returns code without what formatting changes.
fn tokens(code: &str) -> String {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    code.trim_matches(['{', '}']).replace(",)", ")").replace(",]", "]")
}

/// Finds the entry of a row.
fn entry<E: Copy>(table: &[(&'static str, E)], row: &Row) -> Option<E> {
    table.iter().find(|entry| tokens(entry.0) == tokens(&row.code)).map(|entry| entry.1)
}

/// One array for each leaf, `None` where there is no gradient.
type Gradients = Vec<(String, Option<ArrayD<f64>>)>;

/// Value, gradients and second derivatives, each as text for the page beside what it is made from.
struct Outcome {
    value: ArrayD<f64>,
    first: Gradients,
    second: Gradients,
}

fn wide<T: Scalar>(array: ArrayViewD<'_, T>) -> ArrayD<f64>
where
    f64: From<T>,
{
    array.mapv(f64::from)
}

fn equal(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || b != 0.0 && b.is_finite() && (a / b - 1.0).abs() <= tolerance
}

fn all_equal(a: &ArrayD<f64>, b: &ArrayD<f64>, tolerance: f64) -> bool {
    a.shape() == b.shape() && a.iter().zip(b).all(|(&a, &b)| equal(a, b, tolerance))
}

/// Runs an expression; a panic is its message.
fn evaluate<T: Scalar>(run: Expression<T>, row: &Row) -> Result<Outcome, String>
where
    f64: From<T>,
{
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let tape = Tape::new();
        let operands = Operands::new(&tape, &row.point);
        let y = run(&operands);
        let leaves: Vec<Var<'_, T>> = operands.leaves().map(|leaf| leaf.1).collect();
        let names = || operands.leaves().map(|leaf| leaf.0.clone());
        y.sum().backward();
        let swept: Gradients = names().zip(leaves.iter().map(|leaf| leaf.grad().map(wide))).collect();
        let gradients = y.sum().grads_or_none(&leaves);
        let recorded: Gradients = names().zip(gradients.iter().map(|g| g.map(|g| wide(g.value())))).collect();
        for (a, b) in swept.iter().zip(&recorded) {
            let agree = match (&a.1, &b.1) {
                (Some(a), Some(b)) => all_equal(a, b, 0.0),
                (a, b) => a.is_none() && b.is_none(),
            };
            assert!(agree, "backward gives {a:?}, grads {b:?}");
        }
        let total = gradients.iter().flatten().map(|g| g.sum()).reduce(|a, b| a + b);
        let total = total.expect("the value depends on a leaf");
        let second = total.grads_or_none(&leaves).into_iter().map(|g| g.map(|g| wide(g.value())));
        let second = names().zip(second).collect();
        Outcome { value: wide(y.value()), first: swept, second }
    }));
    outcome.map_err(message)
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| "?".into(), |message| (*message).into()),
    }
}

/// Returns what the page should say instead of the cells, if it should.
fn correction<T: Scalar>(run: Expression<T>, row: &Row, digits: usize, tolerance: f64) -> Option<Vec<String>>
where
    f64: From<T>,
{
    let [value, first, second] = &*row.results else { panic!("not three results: {}", row.line) };
    let outcome = match evaluate(run, row) {
        Ok(outcome) => outcome,
        Err(message) => {
            let line = message.lines().next().unwrap_or("");
            let says = value.strip_prefix("panics: ").is_some_and(|text| line.contains(text));
            return (!says).then(|| vec![format!("panics: {line}")]);
        }
    };
    let of_one = |cell: &str, found: &Option<ArrayD<f64>>| match found {
        None => cell == "None",
        Some(found) => parse(cell).is_some_and(|cell| all_equal(found, &cell, tolerance)),
    };
    let of_all = |cell: &str, found: &Gradients| match &**found {
        [(_, found)] => of_one(cell, found),
        _ => {
            let parts = split(cell);
            let named = |part: &str, name: &str| part.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
            parts.len() == found.len()
                && parts
                    .iter()
                    .zip(found)
                    .all(|(part, (name, found))| named(part, name).is_some_and(|cell| of_one(&cell, found)))
        }
    };
    let right = of_one(value, &Some(outcome.value.clone()))
        && of_all(first, &outcome.first)
        && (second.is_empty() || of_all(second, &outcome.second));
    let one = |array: &Option<ArrayD<f64>>| match array {
        None => "None".into(),
        Some(array) => text(&array.view(), digits),
    };
    let all = |gradients: &Gradients| match &**gradients {
        [(_, array)] => one(array),
        _ => {
            let parts: Vec<String> = gradients.iter().map(|(name, array)| format!("{name}: {}", one(array))).collect();
            parts.join(", ")
        }
    };
    (!right).then(|| {
        let second = if second.is_empty() { String::new() } else { all(&outcome.second) };
        vec![text(&outcome.value.view(), digits), all(&outcome.first), second]
    })
}

/// Fails with all rows that are wrong, and what they should say.
fn report(wrong: &[(String, impl Display)]) {
    let lines: String = wrong.iter().map(|(line, found)| format!("{line}\n  found: {found}\n")).collect();
    assert!(wrong.is_empty(), "{} rows are wrong:\n{lines}", wrong.len());
}

fn is_program(row: &Row) -> bool {
    row.results.len() == 1
}

#[test]
fn every_row_of_the_page_says_what_its_expression_gives_in_both_precisions() {
    let (double, single) = (double(), single());
    let mut wrong = vec![];
    for row in rows().iter().filter(|row| !is_program(row)) {
        let (Some(run), Some(run_single)) = (entry(double, row), entry(single, row)) else {
            wrong.push((row.line.clone(), "no such expression".into()));
            continue;
        };
        let in_double = row.double.then(|| correction(run, row, 13, 1e-12)).flatten().map(|cells| (cells, "f64"));
        let in_single =
            || row.single.then(|| correction(run_single, row, 7, 2e-6)).flatten().map(|cells| (cells, "f32"));
        if let Some((cells, precision)) = in_double.or_else(in_single) {
            wrong.push((row.line.clone(), format!("{} in {precision}", cells.join(" | "))));
        }
    }
    report(&wrong);
}

#[test]
fn every_program_of_the_page_comes_to_what_it_says() {
    let programs = programs();
    let mut wrong = vec![];
    for row in rows().iter().filter(|row| is_program(row)) {
        let Some(run) = entry(programs, row) else {
            wrong.push((row.line.clone(), "no such program".into()));
            continue;
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let tape = Tape::new();
            run(&tape, &Operands::new(&tape, &row.point))
        }));
        let (found, right) = match result.map_err(message) {
            Ok(found) => (found.clone(), found == row.results[0]),
            Err(message) => {
                let line = message.lines().next().unwrap_or("");
                let says = row.results[0].strip_prefix("panics: ").is_some_and(|text| line.contains(text));
                (format!("panics: {line}"), says)
            }
        };
        if !right {
            wrong.push((row.line.clone(), found));
        }
    }
    report(&wrong);
}

#[test]
fn every_expression_and_program_has_a_row() {
    let rows: BTreeSet<String> = rows().iter().map(|row| tokens(&row.code)).collect();
    let expressions = double().iter().map(|entry| entry.0);
    for code in expressions.chain(programs().iter().map(|entry| entry.0)) {
        assert!(rows.contains(&tokens(code)), "no row runs {code}");
    }
}

#[test]
fn every_row_says_what_pytorch_does_and_why_we_differ() {
    let rows = rows();
    assert!(rows.len() > 150, "the page was not read: {} rows", rows.len());
    for row in rows {
        assert!(!row.pytorch.is_empty(), "not a word on PyTorch: {}", row.line);
        assert!(row.pytorch == "same" || !row.why.is_empty(), "differs without a reason: {}", row.line);
    }
}
