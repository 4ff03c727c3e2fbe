//! What the lessons share: arguments, data, files, and curves.

// No lesson uses all of it.
#![allow(dead_code)]

pub mod plot;
pub mod verdict;
pub mod watch;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use ndarray::{Array1, Array2, ArrayD};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use tapegrad::data::{Dataset, Npz, SafeTensors, Samples, load_data};
use tapegrad::nn::{self, ReLU, Sequential, Sigmoid, Tanh};
use tapegrad::train::Examples;
use tapegrad::{Param, Scalar, Var};

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The activation of hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Activation {
    Tanh,
    Relu,
    Sigmoid,
}

impl Activation {
    /// Returns the network with the activation as one more layer.
    pub fn push<T: Scalar>(self, network: Sequential<T>) -> Sequential<T> {
        match self {
            Self::Tanh => network.push(Tanh::new()),
            Self::Relu => network.push(ReLU::new()),
            Self::Sigmoid => network.push(Sigmoid::new()),
        }
    }

    /// Records it.
    pub fn record(self, x: Var<'_, f64>) -> Var<'_, f64> {
        match self {
            Self::Tanh => x.tanh(),
            Self::Relu => x.relu(),
            Self::Sigmoid => x.sigmoid(),
        }
    }
}

impl From<Activation> for nn::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Tanh => Self::Tanh,
            Activation::Relu => Self::ReLU,
            Activation::Sigmoid => Self::Sigmoid,
        }
    }
}

/// Which half of the library computes the gradients.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Half {
    Manual,
    Tape,
}

/// How the pixels of 0 to 255 enter a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pixels {
    /// Divided by 255.
    Scaled,
    Raw,
}

/// Parses the arguments. What is wrong with them is said in one line, and ends the program with exit code 2.
pub fn parse<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| {
        if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::UnknownArgument)
            && !matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::MissingRequiredArgument)
            && error.kind() != ErrorKind::ArgumentConflict
        {
            error.exit();
        }
        // The message, without the lines about usage that follow it.
        let text = error.to_string();
        let message = text.split("\n\n").next().unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("{message} (--help says more)");
        std::process::exit(2);
    })
}

/// Arguments that exclude each other, found after parsing.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

/// Returns the exit code of a lesson, and says in one line what went wrong: 2 if it was the arguments, otherwise 1.
pub fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Parses where to draw: the pictures are SVG, so another ending is a mistake.
pub fn svg(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(ending) if !ending.eq_ignore_ascii_case("svg") => {
            Err(format!("expected a name that ends in .svg, found .{}: pictures are SVG", ending.display()))
        }
        _ => Ok(path),
    }
}

/// Parses a whole number of at least 1; more than a million is a mistake, and would ask for memory that nobody has.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("expected a whole number from 1 to 1,000,000".into()),
    }
}

/// Parses a learning rate.
pub fn positive_number(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("expected a positive number".into()),
    }
}

/// Parses a momentum.
pub fn momentum(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..1.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 up to, but not including, 1".into()),
    }
}

/// Checks before the work begins that a file can be written at its end.
pub fn check_output(path: Option<&PathBuf>) -> Outcome {
    let Some(path) = path else { return Ok(()) };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(format!("{}: expected the name of a file to write, found a directory", path.display()).into());
    }
    if !directory.is_dir() {
        let (path, directory) = (path.display(), directory.display());
        return Err(format!("{path}: expected a directory {directory} to write to, found none").into());
    }
    Ok(())
}

/// Loads digits as they are, those of this repository unless there is a directory.
pub fn load_digits(directory: Option<&PathBuf>) -> Outcome<Dataset<f64>> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178").into();
    let directory = directory.unwrap_or(&own);
    let data = load_data(directory)?;
    println!(
        "{} training and {} test digits of {} classes from {}",
        data.train().len(),
        data.test().len(),
        data.train().classes(),
        directory.display()
    );
    Ok(data)
}

/// Returns the training and the test digits, and says how their pixels enter.
pub fn examples(data: &Dataset<f64>, pixels: Pixels) -> Outcome<[Examples<f64>; 2]> {
    println!("{}", if pixels == Pixels::Scaled { "pixels are divided by 255" } else { "pixels are as they are" });
    let of = |samples: &Samples<f64>| {
        let divisor = if pixels == Pixels::Scaled { 255.0 } else { 1.0 };
        Examples::new(samples.images() / divisor, samples.one_hot())
    };
    Ok([of(data.train())?, of(data.test())?])
}

/// Returns parameters `W1`, `b1`, … of linear layers of these widths, drawn from 1e-3 · N(0, 1). A single layer's are
/// called `W` and `b`.
pub fn normal_parameters(widths: &[usize], seed: u64) -> Vec<Param<f64>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut draw = move || 1e-3 * rng.sample::<f64, _>(StandardNormal);
    let names = parameter_names(widths.len() - 1);
    let pairs = widths.windows(2).zip(names.chunks(2));
    pairs
        .flat_map(|(pair, names)| {
            let weight = Array2::from_shape_simple_fn((pair[0], pair[1]), &mut draw);
            let bias = Array1::from_shape_simple_fn(pair[1], &mut draw);
            [Param::named(names[0].clone(), weight), Param::named(names[1].clone(), bias)]
        })
        .collect()
}

fn parameter_names(layers: usize) -> Vec<String> {
    match layers {
        1 => vec!["W".into(), "b".into()],
        _ => (1..=layers).flat_map(|layer| [format!("W{layer}"), format!("b{layer}")]).collect(),
    }
}

/// Reads an array of a file by its name.
type ReadArray = Box<dyn FnMut(&str) -> tapegrad::Result<ArrayD<f64>>>;

/// Gives parameters the values of a file. Vectors may be there as matrices of one row. Either all are loaded or none.
pub fn load_parameters(parameters: &[Param<f64>], path: &Path) -> Outcome {
    let mut array: ReadArray = if path.extension().is_some_and(|extension| extension == "safetensors") {
        let file = SafeTensors::open(path)?;
        Box::new(move |name| file.array(name))
    } else {
        let mut file = Npz::open(path)?;
        Box::new(move |name| file.array(name))
    };
    let mut values = Vec::new();
    for parameter in parameters {
        let (name, shape) = (parameter.name(), parameter.shape());
        let value = array(name)?;
        let row = value.ndim() == 2 && value.shape()[0] == 1 && value.shape()[1..] == **shape;
        if value.shape() != &**shape && !row {
            let (path, found) = (path.display(), value.shape());
            return Err(format!("{path}, array {name}: expected shape {shape}, found {found:?}").into());
        }
        if let Some(x) = value.iter().find(|x| !x.is_finite()) {
            return Err(format!("{}, array {name}: expected finite numbers, found {x}", path.display()).into());
        }
        values.push(value.to_shape(&**shape)?.into_owned());
    }
    parameters.iter().zip(values).for_each(|(parameter, value)| parameter.set_value(value));
    Ok(())
}

/// Returns parameters with their own names.
pub fn named<T: Scalar>(parameters: &[Param<T>]) -> Vec<(String, Param<T>)> {
    parameters.iter().map(|parameter| (parameter.name().to_string(), parameter.clone())).collect()
}

/// Writes parameters by their names.
pub fn save_parameters(parameters: &[Param<f64>], path: &Path) -> Outcome {
    tapegrad::files::save(path, &named(parameters))?;
    println!("parameters are in {}", path.display());
    Ok(())
}
