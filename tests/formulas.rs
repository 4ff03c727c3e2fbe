//! The words of elementwise operations and of their rules, read as formulas and computed: they give the value and the
//! gradient of the row of the table that they stand for.

use std::collections::BTreeMap;

use tapegrad::op::{Binary, Unary};
use tapegrad::{Tape, Var, draw};

/// A sign of a formula.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    /// A word with an opening parenthesis right behind it: a call.
    Call(String),
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let signs: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    let run = |at: usize, part: &dyn Fn(usize, char) -> bool| {
        (at..signs.len()).find(|&end| !part(end, signs[end])).unwrap_or(signs.len())
    };
    while at < signs.len() {
        let c = signs[at];
        if c.is_ascii_digit() {
            // An exponent, as in 1e-16, belongs to the number.
            let part = |end: usize, c: char| {
                c.is_ascii_digit() || c == '.' || c == 'e' || c == '-' && end > 0 && signs[end - 1] == 'e'
            };
            let end = run(at, &part);
            tokens.push(Token::Number(signs[at..end].iter().collect::<String>().parse().unwrap()));
            at = end;
        } else if c.is_alphabetic() && c != 'ᵀ' {
            let end = run(at, &|_, c| c.is_alphanumeric() && !"²³".contains(c) || c == '_');
            let word: String = signs[at..end].iter().collect();
            let call = signs.get(end) == Some(&'(');
            tokens.push(if call { Token::Call(word) } else { Token::Word(word) });
            at = end + usize::from(call);
        } else {
            if c != ' ' {
                tokens.push(Token::Sign(c));
            }
            at += 1;
        }
    }
    tokens
}

/// Reads a formula from left to right and computes it.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    names: BTreeMap<String, f64>,
}

impl Reader {
    fn sees(&self, sign: char) -> bool {
        self.tokens.get(self.at) == Some(&Token::Sign(sign))
    }

    fn takes(&mut self, sign: char) -> bool {
        let sees = self.sees(sign);
        self.at += usize::from(sees);
        sees
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let sees = self.tokens.get(self.at) == Some(&Token::Word(word.into()));
        self.at += usize::from(sees);
        sees
    }

    /// `a where condition, b where condition, else c`
    fn cases(&mut self) -> f64 {
        let mut value = self.sum();
        let mut found = None;
        while self.takes_word("where") {
            let left = self.sum();
            let holds = match self.tokens[self.at].clone() {
                Token::Sign('>') => self.then(|at| left > at.sum()),
                Token::Sign('=') => self.then(|at| left == at.sum()),
                Token::Sign('<') => self.then(|at| {
                    let middle = at.sum();
                    left < middle && (!at.takes('<') || middle < at.sum())
                }),
                other => panic!("{other:?} in a condition"),
            };
            found = found.or(holds.then_some(value));
            assert!(self.takes(','));
            let last = self.takes_word("else");
            value = self.sum();
            if last {
                return found.unwrap_or(value);
            }
        }
        value
    }

    fn then<R>(&mut self, read: impl FnOnce(&mut Self) -> R) -> R {
        self.at += 1;
        read(self)
    }

    fn sum(&mut self) -> f64 {
        let mut sum = if self.takes('-') { -self.product() } else { self.product() };
        loop {
            if self.takes('+') {
                sum += self.product();
            } else if self.takes('-') {
                sum -= self.product();
            } else {
                return sum;
            }
        }
    }

    fn product(&mut self) -> f64 {
        let mut product = self.power();
        loop {
            let factor = match self.tokens.get(self.at) {
                Some(Token::Word(word)) => !["where", "else", "with"].contains(&word.as_str()),
                Some(Token::Number(_) | Token::Call(_) | Token::Sign('(' | '√' | '⊙')) => true,
                _ => false,
            };
            if self.takes('/') {
                product /= self.power();
            } else if factor {
                self.takes('⊙');
                product *= self.power();
            } else {
                return product;
            }
        }
    }

    fn power(&mut self) -> f64 {
        let base = self.atom();
        if self.takes('²') {
            base * base
        } else if self.takes('³') {
            base * base * base
        } else if self.takes('^') {
            base.powf(self.atom())
        } else {
            base
        }
    }

    fn atom(&mut self) -> f64 {
        let token = self.tokens[self.at].clone();
        self.at += 1;
        match token {
            Token::Number(number) => number,
            Token::Word(word) => match word.as_str() {
                "e" => std::f64::consts::E,
                "ln" => self.atom().ln(),
                "π" => std::f64::consts::PI,
                _ => *self.names.get(&word).unwrap_or_else(|| panic!("{word} in {:?}", self.tokens)),
            },
            Token::Sign('(') => {
                let value = self.cases();
                assert!(self.takes(')'), "{:?}", self.tokens);
                value
            }
            Token::Sign('|') => {
                let value = self.sum();
                assert!(self.takes('|'));
                value.abs()
            }
            Token::Sign('√') => self.atom().sqrt(),
            Token::Call(function) => {
                let mut arguments = vec![self.sum()];
                while self.takes(',') {
                    arguments.push(self.sum());
                }
                assert!(self.takes(')'));
                call(&function, &arguments)
            }
            other @ Token::Sign(_) => panic!("{other:?} in {:?}", self.tokens),
        }
    }
}

/// Computes a function: the standard library's, else the row of the table with this name.
fn call(function: &str, arguments: &[f64]) -> f64 {
    let x = arguments[0];
    match (function, arguments) {
        ("max", &[a, b]) => a.max(b),
        ("min", &[a, b]) => a.min(b),
        ("clamp", &[_, low, high]) => x.clamp(low, high),
        ("atan2", &[a, b]) => a.atan2(b),
        ("ln", _) => x.ln(),
        ("sin", _) => x.sin(),
        ("cos", _) => x.cos(),
        ("tan", _) => x.tan(),
        ("tanh", _) => x.tanh(),
        ("sinh", _) => x.sinh(),
        ("cosh", _) => x.cosh(),
        ("sigmoid", _) => 1.0 / (1.0 + (-x).exp()),
        ("sign", _) => x.signum(),
        ("polygamma", &[_, order]) => Tape::new().constant(x).unary(Unary::Polygamma { order }).item(),
        _ => {
            let mut rows = Unary::<f64>::samples().into_iter().map(|(row, _)| row);
            let tape = Tape::new();
            if let Some(row) = rows.find(|row| row.name() == function) {
                return tape.constant(x).unary(row).item();
            }
            let row = Binary::ALL.iter().find(|row| row.name() == function);
            let row = *row.unwrap_or_else(|| panic!("{function}: no such function"));
            tape.constant(x).binary(row, tape.constant(arguments[1])).item()
        }
    }
}

/// Computes a formula, with what follows `with` first.
fn compute(text: &str, names: &[(&str, f64)]) -> f64 {
    let mut names: BTreeMap<String, f64> = names.iter().map(|&(name, value)| (name.into(), value)).collect();
    let (formula, clauses) = text.split_once(" with ").unwrap_or((text, ""));
    let mut clauses = clauses;
    while let Some((letter, rest)) = clauses.split_once(" = ") {
        // The next clause begins with a comma, a letter and an equals sign.
        let end = rest.match_indices(", ").map(|(at, _)| at).find(|at| rest[at + 3..].starts_with(" = "));
        let (value, more) = end.map_or((rest, ""), |at| (&rest[..at], &rest[at + 2..]));
        let value = compute_plain(value, &names);
        names.insert(letter.into(), value);
        clauses = more;
    }
    compute_plain(formula, &names)
}

fn compute_plain(text: &str, names: &BTreeMap<String, f64>) -> f64 {
    let mut reader = Reader { tokens: tokens(text), at: 0, names: names.clone() };
    let value = reader.cases();
    assert_eq!(reader.at, reader.tokens.len(), "{text}: not read to its end");
    value
}

fn assert_near(name: &str, words: &str, found: f64, expected: f64) {
    // Words show six digits.
    let near = (found - expected).abs() <= 2e-5 * expected.abs().max(1.0);
    assert!(near, "{name}: {words} is {found}, expected {expected}");
}

/// Compares the words of an operation with what it computes: its result, and the gradients of its operands.
fn check(name: &str, operands: &[(&str, Var<'_, f64>)], y: Var<'_, f64>) -> usize {
    let y = y.named("y");
    let text = draw::explain(y);
    let line = text.lines().last().unwrap();
    let values = |g: f64| -> Vec<(&str, f64)> {
        let operands = operands.iter().map(|(name, var)| (*name, var.item()));
        operands.chain([("y", y.item()), ("g", g)]).collect()
    };
    let formula = line.split_once("y = ").unwrap().1.split("  ").next().unwrap();
    assert_near(name, formula, compute(formula, &values(1.0)), y.item());
    let Some((_, sweep)) = line.split_once("starts: ") else { return 0 };
    let grads = y.grads_or_none(&operands.iter().map(|(_, var)| *var).collect::<Vec<_>>());
    let mut count = 0;
    for rule in sweep.split("; ") {
        let (target, words) = rule.split_once(" = ").unwrap();
        let words = words.rsplit_once(" : ").unwrap().0;
        let k = operands.iter().position(|(name, _)| target == format!("d{name}")).unwrap();
        let gradient = grads[k].expect("an operand with a rule has a gradient").item();
        assert_near(name, words, compute(words, &values(1.0)), gradient);
        // A rule is linear in the cotangent.
        assert_near(name, words, compute(words, &values(3.0)), 3.0 * gradient);
        count += 1;
    }
    // Every gradient has its words.
    assert_eq!(count, grads.iter().flatten().count(), "{name}: {sweep}");
    count
}

#[test]
fn the_words_of_every_row_of_one_operand_compute_it() {
    let mut rules = 0;
    for (row, range) in Unary::<f64>::samples() {
        for share in [0.15, 0.4, 0.9] {
            let tape = Tape::new();
            let x = tape.leaf(range.start + share * (range.end - range.start)).named("x");
            rules += check(row.name(), &[("x", x)], x.unary(row));
        }
    }
    assert!(rules > 3 * 40, "{rules} rules");
}

#[test]
fn the_words_of_every_row_of_two_operands_compute_it() {
    let mut rules = 0;
    for (row, range) in Binary::samples() {
        for (first, second) in [(0.2, 0.7), (0.8, 0.3)] {
            let tape = Tape::new();
            let at = |share: f64| range.start + share * (range.end - range.start);
            let (a, b) = (tape.leaf(at(first)).named("a"), tape.leaf(at(second)).named("b"));
            rules += check(row.name(), &[("a", a), ("b", b)], a.binary(row, b));
        }
    }
    assert!(rules > 2 * 2 * 20, "{rules} rules");
}

#[test]
fn formulas_are_read_as_they_are_written() {
    let x = [("x", 2.0), ("g", 3.0)];
    assert_eq!(compute("-g x² / 4 x - 1", &x), -7.0);
    assert_eq!(compute("g where x > 2, else 1", &x), 1.0);
    assert_eq!(compute("g where 1 < x < 3, else 1", &x), 3.0);
    assert_eq!(compute("g (s - r) with r = x + 1e-1, s = r²", &x), 3.0 * (2.1 * 2.1 - 2.1));
}
