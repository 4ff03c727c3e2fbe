//! [`Replica`]: the parameters of a rank, and the gradient of a batch over all ranks.

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::ops::Range;

use mpi::Tag;
use mpi::traits::Equivalence;

use super::world::{Act, Mpi, Record, not_empty};
use crate::chunks::{Chunks, Rows, Shards, Sums};
use crate::error::{Error, Result};
use crate::kernel::elementwise::add_assign;
use crate::number::Classify;
use crate::param::{Gradients, Param};
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

const WORDS: Tag = 4;
const SUMS: Tag = 5;
/// As many numbers as stay in a first-level cache between two loops.
const COPIED: usize = 2048;

/// The parameters of a rank, which has the same ones as all other ranks, and the memory to add up their gradients. See the
/// [module](crate::parallel).
///
/// # Example
///
/// A step of descent on 1,000 rows, on any number of ranks. Each has its own rows of `x`:
///
/// ```
/// use ndarray::{Array2, array, s};
/// use tapegrad::chunks::{Chunks, Rows};
/// use tapegrad::optim::{Optimizer, Sgd};
/// use tapegrad::parallel::{Mpi, Replica};
/// use tapegrad::{Param, Tape};
///
/// # fn main() -> tapegrad::Result<()> {
/// let mpi = Mpi::world()?;
/// let mine = mpi.shard(1000, 64)?;
/// let x = Array2::from_elem((mine.len(), 1), 2.0); // read from a file, see `data::open_data`
///
/// let w = Param::new(array![[3.0]]);
/// let mut replica = Replica::new(&mpi, [&w])?; // rank 0's value goes to all ranks
/// let (mut chunks, mut sgd) = (Chunks::new(64), Sgd::new([&w], 0.125));
/// let loss = replica.accumulate_gradients(&mut chunks, Rows::mean(1000), |tape, rows| {
///     let rows = rows.start - mine.start..rows.end - mine.start; // numbers among my own
///     tape.constant(x.slice(s![rows, ..])).matmul(tape.param(&w)).square().mean()
/// })?;
/// sgd.step();
/// assert_eq!((loss, w.value()[[0, 0]]), (36.0, 0.0)); // 3 - 2 · 2² · 3 / 8
/// # Ok(())
/// # }
/// ```
pub struct Replica<'m, T> {
    mpi: &'m Mpi,
    params: Vec<Param<T>>,
    /// Where each parameter's numbers begin, and where the last ones end.
    starts: Vec<usize>,
    /// The range of each rank among the numbers of all parameters.
    ranges: Vec<Range<usize>>,
    /// The sums of this rank's parts: for each rank the numbers of its range, one part after the other. Those of its own
    /// range are in `received`.
    packed: Vec<T>,
    /// The numbers of this rank's range, of all parts of all ranks.
    received: Vec<T>,
    /// The numbers of all parameters.
    total: Vec<T>,
    /// The number of the parameter that the last chunks reached first, second and so on: they do it again.
    order: Vec<usize>,
}

impl<'m, T: Scalar + Equivalence> Replica<'m, T> {
    /// Returns the replica of these parameters, and gives them the values of rank 0. It is a common act.
    ///
    /// A parameter that is named twice counts once.
    ///
    /// # Errors
    ///
    /// If number type, count or shapes of the parameters differ between ranks.
    ///
    /// # Example
    ///
    /// See [`Replica`].
    #[doc(alias = "DistributedDataParallel")]
    pub fn new<P: std::borrow::Borrow<Param<T>>>(mpi: &'m Mpi, params: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut distinct: Vec<Param<T>> = Vec::new();
        for param in params {
            let param: &Param<T> = param.borrow();
            if !distinct.iter().any(|other| other.is(param)) {
                distinct.push(param.clone());
            }
        }
        let shapes: Vec<String> = distinct.iter().map(|param| param.shape().to_string()).collect();
        mpi.same("parameters", format!("{} {}", T::DTYPE, shapes.join(" ")))?;
        let mut starts = vec![0];
        starts.extend(distinct.iter().scan(0, |end, param| {
            *end += param.shape().elements();
            Some(*end)
        }));
        let length = starts[distinct.len()];
        let ranges = mpi.ranges(length);
        let total = vec![T::ZERO; length];
        let mut new = Self {
            mpi,
            params: distinct,
            starts,
            ranges,
            packed: Vec::new(),
            received: Vec::new(),
            total,
            order: Vec::new(),
        };
        new.broadcast()?;
        Ok(new)
    }

    /// Gives the parameters of all ranks the values of rank 0, for instance after rank 0 has read a file. It is a common
    /// act.
    ///
    /// # Errors
    ///
    /// If another rank does something else.
    ///
    /// # Example
    ///
    /// See [`Replica`].
    pub fn broadcast(&mut self) -> Result<()> {
        for (param, start) in self.params.iter().zip(&self.starts) {
            let value = param.value();
            self.total[*start..*start + value.len()].iter_mut().zip(value.iter()).for_each(|(to, &x)| *to = x);
        }
        self.mpi.broadcast_numbers(&mut self.total)?;
        for (param, start) in self.params.iter().zip(&self.starts) {
            let mut value = (*param.value()).clone();
            let from = &self.total[*start..*start + value.len()];
            value.iter_mut().zip(from).for_each(|(to, &x)| *to = x);
            param.set_value(value);
        }
        Ok(())
    }

    /// Adds the gradient of the total loss over the rows of all ranks to the gradient of each parameter, on every rank,
    /// and returns the total loss. It is a common act.
    ///
    /// `rows` are those of the whole batch, the same on every rank. `record` gets ranges among
    /// [`Mpi::shard`]`(rows, chunks.size())`, and is otherwise that of [`Chunks::accumulate_gradients`]. The bits are those
    /// of one rank, for any number of ranks and [threads](crate::threads).
    ///
    /// # Errors
    ///
    /// On all ranks, if on one of them the loss of a chunk or a gradient is NaN or infinite, if the rows or the size of a
    /// chunk differ between ranks, or if there are fewer chunks than ranks. No gradient changes.
    ///
    /// # Panics
    ///
    /// Like [`Chunks::accumulate_gradients`], and if a loss depends on a parameter that the replica does not have. A panic
    /// ends all ranks.
    ///
    /// # Example
    ///
    /// See [`Replica`].
    #[doc(alias = "all_reduce")]
    #[track_caller]
    pub fn accumulate_gradients<F>(&mut self, chunks: &mut Chunks<T>, rows: Rows<'_, T>, record: F) -> Result<T>
    where
        F: for<'t> Fn(&'t Tape<T>, Range<usize>) -> Var<'t, T> + Sync,
    {
        self.run(rows, chunks.size(), |sums| {
            never(chunks.sums_on_tapes(rows, |tape, rows| Ok::<_, Infallible>(record(tape, rows)), sums))
        })
    }

    /// Does the same as [`accumulate_gradients`](Self::accumulate_gradients) with a function that may fail, for instance
    /// because it reads its rows from a file.
    ///
    /// # Errors
    ///
    /// Those of `accumulate_gradients`; and if a chunk fails, its error on its rank, and on the others an
    /// [`Error::Rank`] with the same message.
    ///
    /// # Panics
    ///
    /// Like `accumulate_gradients`.
    ///
    /// # Example
    ///
    /// See [`Chunks::try_accumulate_gradients`].
    #[track_caller]
    pub fn try_accumulate_gradients<E, F>(
        &mut self,
        chunks: &mut Chunks<T>,
        rows: Rows<'_, T>,
        record: F,
    ) -> Result<T, E>
    where
        E: From<Error> + Display + Send,
        F: for<'t> Fn(&'t Tape<T>, Range<usize>) -> Result<Var<'t, T>, E> + Sync,
    {
        self.run(rows, chunks.size(), |sums| chunks.sums_on_tapes(rows, record, sums))
    }

    /// Does the same as [`accumulate_gradients`](Self::accumulate_gradients) with hand-derived layers, as in
    /// [`Chunks::accumulate_by_hand`].
    ///
    /// # Errors
    ///
    /// Those of `accumulate_gradients`.
    ///
    /// # Panics
    ///
    /// If `pass` panics. That ends all ranks.
    ///
    /// # Example
    ///
    /// See [`Chunks::by_hand`].
    #[track_caller]
    pub fn accumulate_by_hand<S: Send, F>(&mut self, chunks: &mut Chunks<T, S>, rows: Rows<'_, T>, pass: F) -> Result<T>
    where
        F: Fn(&mut S, Range<usize>) -> T + Sync,
    {
        let pass = |state: &mut S, rows| Ok::<_, Infallible>(pass(state, rows));
        self.run(rows, chunks.size(), |sums| never(chunks.sums_by_hand(rows, pass, sums)))
    }

    /// Does the same as [`accumulate_by_hand`](Self::accumulate_by_hand) with a function that may fail.
    ///
    /// # Errors
    ///
    /// Those of [`try_accumulate_gradients`](Self::try_accumulate_gradients).
    ///
    /// # Panics
    ///
    /// Like `accumulate_by_hand`.
    ///
    /// # Example
    ///
    /// See [`Chunks::try_accumulate_by_hand`].
    #[track_caller]
    pub fn try_accumulate_by_hand<S: Send, E, F>(
        &mut self,
        chunks: &mut Chunks<T, S>,
        rows: Rows<'_, T>,
        pass: F,
    ) -> Result<T, E>
    where
        E: From<Error> + Display + Send,
        F: Fn(&mut S, Range<usize>) -> Result<T, E> + Sync,
    {
        self.run(rows, chunks.size(), |sums| chunks.sums_by_hand(rows, pass, sums))
    }

    /// Runs this rank's chunks and adds up the sums of all ranks.
    #[track_caller]
    fn run<E: From<Error> + Display>(
        &mut self,
        rows: Rows<'_, T>,
        size: usize,
        run_chunks: impl FnOnce(Sums<'_, T>) -> Result<Option<Range<usize>>, E>,
    ) -> Result<T, E> {
        let own = self.own_sums(rows, size, run_chunks);
        let (shards, words) = match own {
            Ok(own) => own,
            Err(error) => {
                // The error of another rank is news to nobody who has one of his own.
                let _ = self.mpi.begin(Record::failed(Act::Gradients, self.mpi.rank(), &error));
                return Err(error);
            }
        };
        let all = self.words_of_all(rows.count(), size, words, &shards)?;
        self.add_up(&shards);
        let depends = self.deliver(&all);
        assert!(
            depends,
            "accumulate_gradients: expected a loss that depends on a parameter, found a constant in every chunk"
        );
        let mut losses: Vec<f64> = Vec::new();
        for (rank, words) in all.iter().enumerate() {
            losses.extend(words[..shards.parts_of(rank).len()].iter().map(|&loss| f64::from_bits(loss)));
        }
        shards.merge(|to, from| losses[to] += losses[from]);
        Ok(T::from_f64(losses[0]))
    }

    /// Runs this rank's chunks, and packs the gradients. Returns the words for the other ranks: the loss of each part, and
    /// a bit for each parameter that a part has reached.
    #[track_caller]
    fn own_sums<E: From<Error>>(
        &mut self,
        rows: Rows<'_, T>,
        size: usize,
        run_chunks: impl FnOnce(Sums<'_, T>) -> Result<Option<Range<usize>>, E>,
    ) -> Result<(Shards, Vec<u64>), E> {
        let shards = self.mpi.shards(rows.count(), size)?;
        let (me, parts) = (self.mpi.rank(), shards.parts_of(self.mpi.rank()));
        let length = self.ranges[me].len();
        self.packed.resize(parts.len() * self.total.len(), T::ZERO);
        self.received.resize(shards.parts().len() * length, T::ZERO);
        let flags = self.params.len().div_ceil(64);
        let mut words = vec![0; parts.len() + flags];
        let mut not_finite: Option<String> = None;
        let nodes = &shards.parts()[parts.clone()];
        let Self { params, starts, ranges, packed, received, order, .. } = self;
        let own = &mut received[parts.start * length..parts.end * length];
        let mut each = |position: usize, loss: f64, gradients: &Gradients<T>| {
            words[position] = loss.to_bits();
            let mut to = Packed { ranges, me, part: position, parts: parts.len(), packed, own };
            let (mut reached, mut count) = (vec![0; flags], 0);
            gradients.each(|param, g| {
                let number = number_of(param, params, order, count);
                count += 1;
                reached[number / 64] |= 1_u64 << (number % 64);
                let mut finite = true;
                to.write(starts[number], g.len(), |to, from| finite &= copy_finite(to, &g[from]));
                if !finite && not_finite.is_none() {
                    not_finite = Some(format!("the gradient of {param:?}"));
                }
            });
            for number in (0..params.len()).filter(|number| reached[number / 64] >> (number % 64) & 1 == 0) {
                // `x + -0` is `x` for every `x`, also for 0 and -0.
                let length = starts[number + 1] - starts[number];
                to.write(starts[number], length, |to, _| to.fill(T::from_f64(-0.0)));
            }
            words[parts.len()..].iter_mut().zip(&reached).for_each(|(word, bits)| *word |= bits);
        };
        let loss = run_chunks(Sums { nodes, each: &mut each })?;
        let what = loss.map(|rows| format!("the loss of rows {rows:?}")).or(not_finite);
        match what {
            Some(what) => {
                let message = format!("{what} is not a finite number");
                Err(Error::Rank { rank: self.mpi.rank(), message }.into())
            }
            None => Ok((shards, words)),
        }
    }

    /// Tells the other ranks this rank's words, and returns those of all. Nothing else is sent before all ranks know that
    /// none has an error.
    fn words_of_all(&self, rows: usize, size: usize, words: Vec<u64>, shards: &Shards) -> Result<Vec<Vec<u64>>> {
        let mut record = Record::new(Act::Gradients, [rows as u64, size as u64]);
        let room = record.content().len();
        record.content_mut().iter_mut().zip(&words).for_each(|(to, &word)| *to = word);
        let records = self.mpi.begin(record)?;
        let length = |rank: usize| shards.parts_of(rank).len() + self.params.len().div_ceil(64);
        let begin = |(rank, record): (usize, &Record)| {
            let mut words = record.content()[..room.min(length(rank))].to_vec();
            words.resize(length(rank), 0);
            words
        };
        let mut all: Vec<Vec<u64>> = records.iter().enumerate().map(begin).collect();
        // Only networks of thousands of parameters have more words than a record.
        let me = self.mpi.rank();
        let more = words.get(room..).unwrap_or(&[]);
        let others = all.iter_mut().enumerate().filter(|&(rank, _)| rank != me && length(rank) > room);
        self.mpi.wire().exchange(
            "in accumulate_gradients",
            WORDS,
            not_empty((0..self.mpi.size()).filter(|&rank| rank != me).map(|rank| (rank, more))),
            others.map(|(rank, words)| (rank, &mut words[room..])),
        );
        all[me] = words;
        Ok(all)
    }

    /// Exchanges the sums of all parts, adds each rank's range in the order of the tree, and gathers the ranges.
    fn add_up(&mut self, shards: &Shards) {
        let (me, size) = (self.mpi.rank(), self.mpi.size());
        let (mine, own_parts) = (self.ranges[me].clone(), shards.parts_of(me));
        let length = mine.len();
        let packed = |rank: usize| {
            let range = &self.ranges[rank];
            &self.packed[range.start * own_parts.len()..range.end * own_parts.len()]
        };
        let mut receives = Vec::new();
        let mut rest = &mut self.received[..];
        for rank in 0..size {
            let (to, after) = rest.split_at_mut(shards.parts_of(rank).len() * length);
            rest = after;
            if rank != me && !to.is_empty() {
                receives.push((rank, to));
            }
        }
        let sends = (0..size).filter(|&rank| rank != me).map(|rank| (rank, packed(rank)));
        self.mpi.wire().exchange("in accumulate_gradients", SUMS, not_empty(sends), receives);
        if length > 0 {
            shards.merge(|to, from| {
                let (before, after) = self.received.split_at_mut(from * length);
                add_assign(&mut before[to * length..][..length], &after[..length]);
            });
        }
        self.total[mine].copy_from_slice(&self.received[..length]);
        self.mpi.gather("in accumulate_gradients", &mut self.total);
    }

    /// Adds the total to the gradient of each parameter that a rank has reached. Returns whether there is one.
    fn deliver(&self, words: &[Vec<u64>]) -> bool {
        let flags = self.params.len().div_ceil(64);
        let mut reached_any = false;
        for (number, param) in self.params.iter().enumerate() {
            let bit = |words: &Vec<u64>| words[words.len() - flags + number / 64] >> (number % 64) & 1 == 1;
            if words.iter().any(bit) {
                let g = &self.total[self.starts[number]..self.starts[number + 1]];
                param.accumulate_with(|to| to.copy_from_slice(g));
                reached_any = true;
            }
        }
        reached_any
    }
}

/// The places of one part's numbers.
struct Packed<'a, T> {
    ranges: &'a [Range<usize>],
    me: usize,
    part: usize,
    /// The number of parts of this rank.
    parts: usize,
    packed: &'a mut [T],
    own: &'a mut [T],
}

impl<T> Packed<'_, T> {
    /// Calls `write` with the places of the numbers from `start` on, piece by piece, and with the positions of each piece
    /// among these numbers.
    fn write(&mut self, start: usize, length: usize, mut write: impl FnMut(&mut [T], Range<usize>)) {
        let first = self.ranges.partition_point(|range| range.end <= start);
        for (rank, range) in self.ranges.iter().enumerate().skip(first) {
            let (from, to) = (range.start.max(start), range.end.min(start + length));
            if from >= to {
                break;
            }
            let place = self.part * range.len() + (from - range.start);
            let (all, place) = match rank == self.me {
                true => (&mut *self.own, place),
                false => (&mut *self.packed, range.start * self.parts + place),
            };
            write(&mut all[place..place + (to - from)], from - start..to - start);
        }
    }
}

/// Copies numbers, and returns whether all are finite. Each is read from memory once.
fn copy_finite<T: Scalar>(to: &mut [T], from: &[T]) -> bool {
    to.chunks_mut(COPIED).zip(from.chunks(COPIED)).fold(true, |finite, (to, from)| {
        to.copy_from_slice(from);
        // Without an early end the compiler makes vectors of it.
        finite & from.iter().fold(true, |finite, g| finite & g.is_finite())
    })
}

/// Returns the position of a parameter among all, which is kept in `order`.
#[track_caller]
fn number_of<T: Scalar>(param: &Param<T>, params: &[Param<T>], order: &mut Vec<usize>, count: usize) -> usize {
    if let Some(&number) = order.get(count)
        && params[number].is(param)
    {
        return number;
    }
    let Some(number) = params.iter().position(|own| own.is(param)) else {
        panic!("accumulate_gradients: {param:?} is not a parameter of the replica");
    };
    order.truncate(count);
    order.push(number);
    number
}

fn never<R>(result: Result<R, Infallible>) -> Result<R> {
    match result {
        Ok(result) => Ok(result),
        Err(never) => match never {},
    }
}

/// Prints the rank and the number of parameters.
impl<T> fmt::Debug for Replica<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica of {} parameters on {:?}", self.params.len(), self.mpi)
    }
}
