//! [`Record`]: what a log and a report keep of a pass.

use std::fmt::Write as _;
use std::time::Duration;

use super::history::Pass;
use crate::param::Param;
use crate::scalar::Scalar;

/// What a [`Log`](super::Log) and a report keep of a pass: losses and accuracies, the learning rate, the norm of the
/// gradient of each parameter, and the time.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::train::{Record, gradient_norms};
///
/// let w = Param::new(array![[0.0, 0.0]]);
/// w.accumulate_grad(&array![[3.0, 4.0]].into_dyn());
/// let norms = gradient_norms(&[("0.weight".to_string(), w)]);
/// let record = Record::new(7, 0.25).with_learning_rate(0.1).with_gradient_norms(norms);
/// let json = r#"{"pass":7,"seconds":0.0,"train_loss":0.25,"learning_rate":0.1,"gradient_norms":{"0.weight":5.0}}"#;
/// assert_eq!(record.to_json(), json);
/// assert_eq!(Record::from_json(json), Some(record));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pass: usize,
    time: Duration,
    train_loss: f64,
    train_accuracy: Option<f64>,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
    learning_rate: Option<f64>,
    gradient_norms: Vec<(String, f64)>,
}

impl Record {
    /// Returns the record of a pass with its training loss, and nothing else.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn new(pass: usize, train_loss: f64) -> Self {
        Self {
            pass,
            time: Duration::ZERO,
            train_loss,
            train_accuracy: None,
            test_loss: None,
            test_accuracy: None,
            learning_rate: None,
            gradient_norms: Vec::new(),
        }
    }

    /// Returns the record with this index of the pass.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn at_pass(self, pass: usize) -> Self {
        Self { pass, ..self }
    }

    /// Returns the record with this time since the run began.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn with_time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Returns the record with this share of training examples that are classified correctly.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn with_train_accuracy(self, share: f64) -> Self {
        Self { train_accuracy: Some(share), ..self }
    }

    /// Returns the record with this loss on the test examples.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn with_test_loss(self, loss: f64) -> Self {
        Self { test_loss: Some(loss), ..self }
    }

    /// Returns the record with this share of test examples that are classified correctly.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn with_test_accuracy(self, share: f64) -> Self {
        Self { test_accuracy: Some(share), ..self }
    }

    /// Returns the record with this learning rate.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn with_learning_rate(self, learning_rate: f64) -> Self {
        Self { learning_rate: Some(learning_rate), ..self }
    }

    /// Returns the record with these norms, each with the name of its parameter: see [`gradient_norms`].
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn with_gradient_norms(self, gradient_norms: Vec<(String, f64)>) -> Self {
        Self { gradient_norms, ..self }
    }

    /// Returns the index of the pass.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn pass(&self) -> usize {
        self.pass
    }

    /// Returns the time since the run began.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Returns the loss on the training examples.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn train_loss(&self) -> f64 {
        self.train_loss
    }

    /// Returns the share of training examples that are classified correctly.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn train_accuracy(&self) -> Option<f64> {
        self.train_accuracy
    }

    /// Returns the loss on the test examples.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn test_loss(&self) -> Option<f64> {
        self.test_loss
    }

    /// Returns the share of test examples that are classified correctly.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn test_accuracy(&self) -> Option<f64> {
        self.test_accuracy
    }

    /// Returns the learning rate.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn learning_rate(&self) -> Option<f64> {
        self.learning_rate
    }

    /// Returns the norm of the gradient of each parameter.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn gradient_norms(&self) -> &[(String, f64)] {
        &self.gradient_norms
    }

    /// Returns the record as a JSON object in one line.
    ///
    /// Each number reads back with the same bits. JSON has no NaN and no infinities: they are the strings `"NaN"`,
    /// `"Infinity"` and `"-Infinity"`, which Python's `float` and JavaScript's `Number` read. What the record does not
    /// have is not in the object.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::train::Record;
    ///
    /// let record = Record::new(0, f64::NAN).with_test_loss(0.1);
    /// assert_eq!(record.to_json(), r#"{"pass":0,"seconds":0.0,"train_loss":"NaN","test_loss":0.1}"#);
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut line = format!("{{\"pass\":{},\"seconds\":{}", self.pass, number(self.time.as_secs_f64()));
        let optional = [
            ("train_loss", Some(self.train_loss)),
            ("train_accuracy", self.train_accuracy),
            ("test_loss", self.test_loss),
            ("test_accuracy", self.test_accuracy),
            ("learning_rate", self.learning_rate),
        ];
        for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            // Writing to a string does not fail.
            let _ = write!(line, ",\"{name}\":{}", number(value));
        }
        if !self.gradient_norms.is_empty() {
            let norms = self.gradient_norms.iter().map(|(name, norm)| format!("{}:{}", quoted(name), number(*norm)));
            let _ = write!(line, ",\"gradient_norms\":{{{}}}", norms.collect::<Vec<_>>().join(","));
        }
        line + "}"
    }

    /// Returns the record that [`to_json`](Self::to_json) wrote, or `None` for any other text.
    ///
    /// # Example
    ///
    /// See [`Record`].
    #[must_use]
    pub fn from_json(line: &str) -> Option<Self> {
        let mut rest = Rest(line.trim_end());
        rest.skip("{\"pass\":")?;
        let mut record = Self::new(rest.digits()?, f64::NAN);
        let (mut has_loss, mut has_time) = (false, false);
        while rest.skip("}").is_none() {
            rest.skip(",")?;
            let name = rest.string()?;
            rest.skip(":")?;
            if name == "gradient_norms" {
                rest.skip("{")?;
                loop {
                    let name = rest.string()?;
                    rest.skip(":")?;
                    record.gradient_norms.push((name, rest.number()?));
                    if rest.skip("}").is_some() {
                        break;
                    }
                    rest.skip(",")?;
                }
                continue;
            }
            let value = rest.number()?;
            match &*name {
                "seconds" => {
                    record.time = Duration::try_from_secs_f64(value).ok()?;
                    has_time = true;
                }
                "train_loss" => {
                    record.train_loss = value;
                    has_loss = true;
                }
                "train_accuracy" => record.train_accuracy = Some(value),
                "test_loss" => record.test_loss = Some(value),
                "test_accuracy" => record.test_accuracy = Some(value),
                "learning_rate" => record.learning_rate = Some(value),
                _ => return None,
            }
        }
        (has_loss && has_time && rest.0.is_empty()).then_some(record)
    }
}

/// Takes what the pass has. There is no learning rate and no gradient in it.
impl From<&Pass> for Record {
    fn from(pass: &Pass) -> Self {
        Self {
            train_accuracy: pass.train_accuracy(),
            test_loss: pass.test_loss(),
            test_accuracy: pass.test_accuracy(),
            ..Self::new(pass.index(), pass.train_loss()).with_time(pass.time())
        }
    }
}

/// Returns the Euclidean norm of the gradient of each parameter that has one, `√(Σ g²)`, with its name. It is computed in
/// `f64`.
///
/// # Example
///
/// See [`Record`].
#[must_use]
pub fn gradient_norms<T: Scalar>(parameters: &[(String, Param<T>)]) -> Vec<(String, f64)> {
    let norm = |(name, parameter): &(String, Param<T>)| {
        let squares = parameter.grad()?.iter().map(|g| g.to_f64().powi(2)).sum::<f64>();
        Some((name.clone(), squares.sqrt()))
    };
    parameters.iter().filter_map(norm).collect()
}

/// Returns a number as JSON. What Rust prints for debugging reads back with the same bits, and is JSON if it is finite.
fn number(x: f64) -> String {
    match x {
        _ if x.is_finite() => format!("{x:?}"),
        _ if x.is_nan() => "\"NaN\"".into(),
        _ if x > 0.0 => "\"Infinity\"".into(),
        _ => "\"-Infinity\"".into(),
    }
}

/// Returns a string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            c if c < ' ' => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The rest of a line that is read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes the characters up to the first that ends a number.
    fn word(&mut self) -> &'a str {
        let (word, rest) = self.0.split_at(self.0.find([',', '}']).unwrap_or(self.0.len()));
        self.0 = rest;
        word
    }

    fn digits(&mut self) -> Option<usize> {
        self.word().parse().ok()
    }

    fn number(&mut self) -> Option<f64> {
        match self.word() {
            "\"NaN\"" => Some(f64::NAN),
            "\"Infinity\"" => Some(f64::INFINITY),
            "\"-Infinity\"" => Some(f64::NEG_INFINITY),
            // Rust reads words too, as `inf`.
            word if word.ends_with(|c: char| c.is_ascii_digit()) => word.parse().ok(),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        self.skip("\"")?;
        let mut text = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(text);
                }
                '\\' => match characters.next()?.1 {
                    'u' => {
                        let code: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                    }
                    c @ ('"' | '\\') => text.push(c),
                    _ => return None,
                },
                c => text.push(c),
            }
        }
        None
    }
}
