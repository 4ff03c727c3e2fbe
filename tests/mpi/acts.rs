//! What a rank does in each test.

use std::env;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use mpi::traits::Equivalence;
use ndarray::{Array1, Array2, array, s};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::parallel::{Mpi, Replica};
use tapegrad::{Error, Param, Scalar, Tape, Var, threads};

type Result<R, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<R, E>;

/// Plays the part of this rank, and leaves what came out of it for the test. The process fails if that is an error.
pub fn act() {
    let code = Mpi::run(|mpi| {
        mpi.set_timeout(Duration::from_secs(60));
        let result = part(mpi);
        let text = result.as_ref().map_or_else(|error| error.to_string(), String::clone);
        let out = PathBuf::from(env::var_os("OUT").expect("it runs under a test"));
        fs::write(out.join(format!("{}", mpi.rank())), text)?;
        result.map(|_| ())
    });
    if code != ExitCode::SUCCESS {
        std::process::exit(1);
    }
}

fn part(mpi: &mut Mpi) -> Result<String> {
    let rank = mpi.rank();
    match &*env::var("ACT").expect("it runs under a test") {
        "descend" => descend(mpi),
        "reach" => reach(mpi),
        "many" => many(mpi),
        "nan" => poison(mpi, f64::NAN, 4),
        "infinite" => infinite(mpi),
        "file" => missing_row(mpi),
        "agree" => agree(mpi),
        "widths" => mpi.same("width of the data", 784 - rank).map(|()| String::new()).map_err(Into::into),
        "shapes" => shapes(mpi),
        "rows" => rows(mpi),
        "acts" => acts(mpi),
        "few" => few(mpi),
        "leave" => leave(mpi),
        "panic" => {
            assert!(rank == 0, "a bug on rank 1");
            mpi.agree(Ok(String::new()))
        }
        "die" => die(mpi),
        "silent" => {
            mpi.set_timeout(Duration::from_secs(1));
            if rank == 1 {
                std::thread::sleep(Duration::from_secs(60));
            }
            mpi.agree(Ok(String::new()))
        }
        act => panic!("no act {act}"),
    }
}

/// A network 7 -> 5 tanh -> 3 with data of 67 rows, a part of them on each rank.
struct Problem<T> {
    w: Vec<Param<T>>,
    x: Array2<T>,
    labels: Vec<usize>,
    first: usize,
}

const ROWS: usize = 67;

impl<T: Scalar> Problem<T> {
    fn new(mine: Range<usize>) -> Self {
        let mut rng = StdRng::seed_from_u64(3);
        let mut draw =
            |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || T::from_f64(rng.random_range(-1.0..1.0)));
        let w = vec![
            Param::new(draw((7, 5))),
            Param::new(draw((1, 5)).remove_axis(ndarray::Axis(0))),
            Param::new(draw((5, 3))),
            Param::new(draw((1, 3)).remove_axis(ndarray::Axis(0))),
        ];
        let x = draw((ROWS, 7)).slice(s![mine.clone(), ..]).to_owned();
        Self { w, x, labels: mine.clone().map(|row| row * row % 3).collect(), first: mine.start }
    }

    fn network(w: &[Param<T>]) -> Sequential<T> {
        Sequential::new()
            .push(Linear::from_params(w[0].clone(), Some(w[1].clone())))
            .push(Tanh::new())
            .push(Linear::from_params(w[2].clone(), Some(w[3].clone())))
    }

    fn own(&self, rows: Range<usize>) -> Range<usize> {
        rows.start - self.first..rows.end - self.first
    }

    fn record<'t>(&self, tape: &'t Tape<T>, rows: Range<usize>) -> Var<'t, T> {
        let rows = self.own(rows);
        let scores = Self::network(&self.w).record(tape, tape.constant(self.x.slice(s![rows.clone(), ..])));
        SoftmaxCrossEntropy::new().record_labels(&self.labels[rows], scores)
    }

    fn pass(&self, (network, loss): &mut (Sequential<T>, SoftmaxCrossEntropy<T>), rows: Range<usize>) -> T {
        let rows = self.own(rows);
        let (x, labels) = (self.x.slice(s![rows.clone(), ..]), &self.labels[rows]);
        let scores = network.forward(&x);
        let value = loss.forward_labels(labels, scores);
        let delta = loss.backward_labels(labels, scores);
        network.backward_update_gradient(&x, delta);
        value
    }

    /// The bits of the losses and of the parameters after some steps of descent; on rank 0 the values are those of the
    /// seed, elsewhere 0 before the replica is made.
    fn descend(mpi: &Mpi, size: usize, by_hand: bool) -> Result<Vec<u64>>
    where
        T: Equivalence,
    {
        let problem = Self::new(mpi.shard(ROWS, size)?);
        if mpi.rank() > 0 {
            problem.w.iter().for_each(|w| w.set_value(w.value().mapv(|_| T::ZERO)));
        }
        let mut replica = Replica::new(mpi, &problem.w)?;
        let mut sgd = Sgd::new(&problem.w, T::from_f64(0.1)).with_momentum(T::from_f64(0.9));
        let w = problem.w.clone();
        let mut tapes = Chunks::new(size);
        let mut hands = Chunks::by_hand(size, move || (Self::network(&w), SoftmaxCrossEntropy::new()));
        let mut losses = Vec::new();
        for _ in 0..10 {
            losses.push(if by_hand {
                replica.accumulate_by_hand(&mut hands, Rows::mean(ROWS), |state, rows| problem.pass(state, rows))?
            } else {
                replica.accumulate_gradients(&mut tapes, Rows::mean(ROWS), |tape, rows| problem.record(tape, rows))?
            });
            sgd.step();
            sgd.zero_grad();
        }
        Ok(bits(&losses, &problem.w))
    }

    /// The same without MPI.
    fn descend_alone(size: usize, by_hand: bool) -> Vec<u64> {
        let problem = Self::new(0..ROWS);
        let mut sgd = Sgd::new(&problem.w, T::from_f64(0.1)).with_momentum(T::from_f64(0.9));
        let w = problem.w.clone();
        let mut tapes = Chunks::new(size);
        let mut hands = Chunks::by_hand(size, move || (Self::network(&w), SoftmaxCrossEntropy::new()));
        let mut losses = Vec::new();
        for _ in 0..10 {
            losses.push(if by_hand {
                hands.accumulate_by_hand(Rows::mean(ROWS), |state, rows| problem.pass(state, rows))
            } else {
                tapes.accumulate_gradients(Rows::mean(ROWS), |tape, rows| problem.record(tape, rows))
            });
            sgd.step();
            sgd.zero_grad();
        }
        bits(&losses, &problem.w)
    }
}

fn bits<T: Scalar>(losses: &[T], w: &[Param<T>]) -> Vec<u64> {
    let values = w.iter().flat_map(|w| w.value().iter().copied().collect::<Vec<_>>());
    losses.iter().copied().chain(values).map(|x| x.to_f64().to_bits()).collect()
}

fn descend(mpi: &Mpi) -> Result<String> {
    fn all<T: Scalar + Equivalence>(mpi: &Mpi, lines: &mut Vec<String>) -> Result<()> {
        for by_hand in [false, true] {
            let mut line = String::new();
            for size in [1, 3, 8, 16] {
                let found = Problem::<T>::descend(mpi, size, by_hand)?;
                if found != Problem::<T>::descend_alone(size, by_hand) {
                    return Err(format!("chunks of {size} without MPI have other bits").into());
                }
                line += &format!("{found:x?} ");
            }
            lines.push(line);
        }
        Ok(())
    }
    let count = env::var("THREADS")?.parse()?;
    assert_eq!(threads::with(count, threads::count), count, "the tests need the feature rayon");
    threads::with(count, || {
        let mut lines = Vec::new();
        all::<f32>(mpi, &mut lines)?;
        all::<f64>(mpi, &mut lines)?;
        Ok(lines.join("\n"))
    })
}

/// One parameter of all rows, one that only the first row reaches with a gradient of -0, and one that nothing reaches.
fn reach(mpi: &Mpi) -> Result<String> {
    let (first, zero, never) = (Param::new(array![1.0, 2.0]), Param::new(array![3.0]), Param::new(array![4.0]));
    let mut replica = Replica::new(mpi, [&first, &zero, &never])?;
    replica.accumulate_gradients(&mut Chunks::new(1), Rows::sum(4), |tape, rows| match rows.start {
        0 => tape.param(&first).slice(0, 1..2).sum() * 6.0 + tape.param(&zero).sum() * -0.0,
        _ => tape.param(&first).sum() * 0.0,
    })?;
    let show = |w: &Param<f64>| w.grad().map_or("None".to_string(), |grad| format!("{grad:?}"));
    let first = first.grad().map(|grad| format!("[{}, {}]", grad[[0]], grad[[1]])).unwrap_or_default();
    let zero = show(&zero);
    Ok(format!("{first} {} {}", &zero[..zero.find(']').map_or(0, |end| end + 1)], show(&never)))
}

/// 5,000 parameters of one number, each reached by one chunk.
fn many(mpi: &Mpi) -> Result<String> {
    let w: Vec<Param<f64>> = (0..5000).map(|number| Param::new(array![number as f64])).collect();
    let mut replica = Replica::new(mpi, &w)?;
    replica.accumulate_gradients(&mut Chunks::new(500), Rows::sum(4500), |tape, rows| {
        rows.map(|row| tape.param(&w[row]).square().sum()).reduce(|a, b| a + b).expect("a row")
    })?;
    let reached = |w: &Param<f64>| w.grad().map(|grad| grad[[0]]);
    assert!((0..5000).all(|number| reached(&w[number]) == (number < 4500).then_some(2.0 * number as f64)));
    Ok("as expected".into())
}

/// The loss of one row is `value`.
fn poison(mpi: &Mpi, value: f64, row: usize) -> Result<String> {
    let w = Param::new(array![1.0]);
    let mut replica = Replica::new(mpi, [&w])?;
    let mut step = |value: f64| {
        replica.accumulate_gradients(&mut Chunks::new(2), Rows::mean(16), |tape, rows| {
            tape.param(&w).sum() * if rows.contains(&row) { value } else { 1.0 }
        })
    };
    step(1.0)?;
    let result = step(value);
    assert!(w.grad().expect("reached")[[0]] == 1.0, "a step that fails changes no gradient");
    // The ranks are still together.
    assert_eq!(step(1.0)?, 1.0);
    Ok(result?.to_string())
}

/// The loss is finite, the gradient is not: that of a square root at 0.
fn infinite(mpi: &Mpi) -> Result<String> {
    let w = Param::named("w", array![0.0]);
    let mut replica = Replica::new(mpi, [&w])?;
    let loss = replica.accumulate_gradients(&mut Chunks::new(1), Rows::sum(3), |tape, rows| match rows.start {
        2 => tape.param(&w).sqrt().sum(),
        _ => tape.param(&w).sum(),
    })?;
    Ok(loss.to_string())
}

fn missing_row(mpi: &Mpi) -> Result<String> {
    let w = Param::new(array![1.0]);
    let mut replica = Replica::new(mpi, [&w])?;
    let loss = replica.try_accumulate_gradients(&mut Chunks::new(1), Rows::sum(4), |tape, rows| match rows.start {
        row @ 2.. => Err(Box::<dyn std::error::Error + Send + Sync>::from(format!("row {row} is missing"))),
        _ => Ok(tape.param(&w).sum()),
    })?;
    Ok(loss.to_string())
}

fn agree(mpi: &Mpi) -> Result<String> {
    mpi.agree(if mpi.rank() == 1 { Err("no such file".into()) } else { Ok(String::new()) })
}

fn shapes(mpi: &Mpi) -> Result<String> {
    let width = if mpi.rank() == 2 { 5 } else { 4 };
    let w = [Param::new(Array1::<f64>::zeros(2)), Param::new(Array2::zeros((3, width)).into_dyn())];
    Ok(format!("{:?}", Replica::new(mpi, &w)?))
}

fn rows(mpi: &Mpi) -> Result<String> {
    let w = Param::new(array![1.0]);
    let mut replica = Replica::new(mpi, [&w])?;
    let rows = Rows::mean(8 + mpi.rank());
    Ok(replica.accumulate_gradients(&mut Chunks::new(2), rows, |tape, _| tape.param(&w).sum())?.to_string())
}

fn acts(mpi: &Mpi) -> Result<String> {
    if mpi.rank() == 1 {
        mpi.same("x", 1)?
    } else {
        mpi.agree(Ok::<_, Error>(()))?
    }
    Ok("no error".into())
}

fn few(mpi: &Mpi) -> Result<String> {
    Ok(format!("{:?}", mpi.shard(6, 2)?))
}

fn leave(mpi: &Mpi) -> Result<String> {
    if mpi.rank() == 1 {
        return Err("left".into());
    }
    mpi.agree(Ok::<_, Error>(()))?;
    Ok("no error".into())
}

/// Steps and checkpoints without an end, until rank 1 dies in the fourth step.
fn die(mpi: &Mpi) -> Result<String> {
    let w = Param::new(Array1::<f64>::zeros(1000));
    let (mut replica, mut sgd) = (Replica::new(mpi, [&w])?, Sgd::new([&w], 1.0));
    let saved = PathBuf::from(env::var("OUT")?).join("saved.npz");
    for step in 0.. {
        if step == 3 && mpi.rank() == 1 {
            let signal = env::var("SIGNAL")?;
            Command::new("kill").args(["-s", &signal, &std::process::id().to_string()]).status()?;
            std::thread::sleep(Duration::from_secs(60));
        }
        // The gradient is -1: w counts the steps.
        replica.accumulate_gradients(&mut Chunks::new(1), Rows::mean(2), |tape, _| -tape.param(&w).sum())?;
        sgd.step();
        sgd.zero_grad();
        let save = || tapegrad::data::save_npz(&saved, &[("w", w.value().view())]);
        mpi.agree(if mpi.rank() == 0 { save() } else { Ok(()) })?;
    }
    Ok("no error".into())
}
