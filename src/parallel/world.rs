//! [`Mpi`]: the processes of a run, and what they agree on.

use std::fmt::{self, Display};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mpi::traits::Equivalence;
use mpi::{Tag, Threading};

use super::wire::Wire;
use crate::chunks::Shards;
use crate::error::{Error, Result};

/// The words of a record: the message with which every common act begins.
const WORDS: usize = 64;
/// The words in front of a record's content.
const HEAD: usize = 6;
/// The length of a text in a record, in bytes.
const LONGEST: usize = 8 * (WORDS - HEAD);

const RECORD: Tag = 1;
const SCATTER: Tag = 2;
const GATHER: Tag = 3;

/// What all ranks do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Left,
    Agree,
    Same,
    Broadcast,
    Gradients,
}

impl Act {
    const ALL: [Self; 5] = [Self::Left, Self::Agree, Self::Same, Self::Broadcast, Self::Gradients];

    fn name(self) -> &'static str {
        match self {
            Self::Left => "the end of the run",
            Self::Agree => "agree",
            Self::Same => "same",
            Self::Broadcast => "broadcast",
            Self::Gradients => "accumulate_gradients",
        }
    }
}

/// What a rank says when a common act begins: whether it has an error, then some numbers or the error's text.
#[derive(Clone)]
pub(super) struct Record([u64; WORDS]);

impl Record {
    /// Returns a record of an act without an error. Two `marks` have to be the same on all ranks.
    pub(super) fn new(act: Act, marks: [u64; 2]) -> Self {
        let mut words = [0; WORDS];
        words[..HEAD].copy_from_slice(&[act as u64, 0, 0, marks[0], marks[1], 0]);
        Self(words)
    }

    /// Returns the record of a rank whose part of the act has failed.
    pub(super) fn failed(act: Act, rank: usize, error: &impl Display) -> Self {
        let (mut record, text) = (Self::new(act, [0; 2]), error.to_string());
        record.0[1] = 1;
        // Whoever reads it writes the rank in front.
        record.set_text(text.strip_prefix(&format!("rank {rank}: ")).unwrap_or(&text));
        record
    }

    /// The words that are free for the content of an act.
    pub(super) fn content(&self) -> &[u64] {
        &self.0[HEAD..]
    }

    pub(super) fn content_mut(&mut self) -> &mut [u64] {
        &mut self.0[HEAD..]
    }

    /// Writes a text into the content; what is too long is cut off.
    fn set_text(&mut self, text: &str) {
        let mut length = text.len().min(LONGEST);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        self.0[2] = length as u64;
        for (word, bytes) in self.0[HEAD..].iter_mut().zip(text.as_bytes()[..length].chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(padded);
        }
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.content().iter().flat_map(|word| word.to_le_bytes()).collect();
        String::from_utf8_lossy(&bytes[..LONGEST.min(self.0[2] as usize)]).into_owned()
    }

    fn act(&self) -> Act {
        Act::ALL.get(self.0[0] as usize).copied().unwrap_or(Act::Left)
    }

    fn has_failed(&self) -> bool {
        self.0[1] != 0
    }

    /// Returns the marks, and a third number that only [`Mpi::same`] uses.
    fn marks(&self) -> &[u64] {
        &self.0[3..HEAD]
    }
}

/// The processes of a run on one machine or many. See the [module](crate::parallel).
///
/// A run of `mpirun -n 4 program` has 4 ranks, 0 to 3. A program that is started without `mpirun` is a run of one rank.
///
/// Most methods are common acts: **every rank has to call them, in the same order**. A rank that calls another one, or
/// that has dropped its `Mpi`, gives an error on all ranks. A rank that calls none makes the others wait; see
/// [`set_timeout`](Self::set_timeout).
///
/// Dropping it waits for the other ranks and ends MPI. If a panic drops it, all ranks are ended.
///
/// # Example
///
/// ```
/// use tapegrad::parallel::Mpi;
///
/// # fn main() -> tapegrad::Result<()> {
/// let mpi = Mpi::world()?;
/// assert!(mpi.rank() < mpi.size());
/// // A rank that cannot read the digits tells all others.
/// let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178");
/// let files = mpi.agree(tapegrad::data::open_data::<f32>(digits))?;
/// mpi.same("width of the digits", files.train().width())?;
/// # Ok(())
/// # }
/// ```
pub struct Mpi {
    wire: Wire,
    rank: usize,
    size: usize,
    /// The ranks that have ended.
    gone: Vec<AtomicBool>,
}

impl Mpi {
    /// Starts MPI.
    ///
    /// # Errors
    ///
    /// If it was started before in this process, or calls from more than one thread are not possible.
    ///
    /// # Example
    ///
    /// See [`Mpi`].
    pub fn world() -> Result<Self> {
        let expected = "one start in a process";
        let started = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = started.ok_or_else(|| Error::value("MPI", expected, "another one"))?;
        if threading < Threading::Serialized {
            return Err(Error::value("MPI", "calls from any thread", format!("threads of level {threading:?}")));
        }
        let wire = Wire::new(universe, Duration::from_secs(300));
        let (rank, size) = (wire.rank(), wire.size());
        Ok(Self { wire, rank, size, gone: (0..size).map(|_| AtomicBool::new(false)).collect() })
    }

    /// Starts MPI, calls `f`, and returns the exit code of the process.
    ///
    /// An error is printed to standard error with the number of the rank. MPI ends after that, so every rank can print its
    /// own before `mpirun` ends them all.
    ///
    /// # Example
    ///
    /// ```
    /// use std::process::ExitCode;
    ///
    /// use tapegrad::parallel::Mpi;
    ///
    /// fn main() -> ExitCode {
    ///     Mpi::run(|mpi| {
    ///         println!("rank {} of {}", mpi.rank(), mpi.size());
    ///         mpi.same("version", env!("CARGO_PKG_VERSION"))
    ///     })
    /// }
    /// ```
    pub fn run<E: From<Error> + Display>(f: impl FnOnce(&mut Self) -> Result<(), E>) -> ExitCode {
        let mut mpi = match Self::world() {
            Ok(mpi) => mpi,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        match f(&mut mpi) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rank {} of {}: {error}", mpi.rank, mpi.size);
                ExitCode::FAILURE
            }
        }
    }

    /// Sets how long a rank waits for the others. It is 5 minutes by default.
    ///
    /// It has to be longer than the ranks differ, for instance while rank 0 writes a file. When it is over, a rank
    /// prints which ranks are silent and ends the run: all processes, with a failing exit code.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tapegrad::parallel::Mpi;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut mpi = Mpi::world()?;
    /// mpi.set_timeout(Duration::from_secs(60));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.wire.timeout = timeout;
    }

    /// Returns the number of this process, from 0.
    ///
    /// # Example
    ///
    /// See [`Mpi`].
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of processes.
    ///
    /// # Example
    ///
    /// See [`Mpi`].
    #[must_use]
    #[doc(alias = "get_world_size")]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the rows of a batch that this rank computes, where a chunk has `size` rows: successive chunks, about as
    /// many as on any other rank.
    ///
    /// This is no common act.
    ///
    /// # Errors
    ///
    /// If there are fewer chunks than ranks: a rank would have no rows.
    ///
    /// # Panics
    ///
    /// If the size is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::parallel::Mpi;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let mpi = Mpi::world()?;
    /// let rows = mpi.shard(1000, 64)?;
    /// assert_eq!(rows.start % 64, 0);
    /// if mpi.size() == 1 {
    ///     assert_eq!(rows, 0..1000);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "DistributedSampler")]
    #[track_caller]
    pub fn shard(&self, rows: usize, size: usize) -> Result<Range<usize>> {
        assert!(size > 0, "shard: expected at least 1 row in a chunk, found a size of 0");
        let chunks = self.shards(rows, size)?.chunks(self.rank);
        Ok(chunks.start * size..rows.min(chunks.end * size))
    }

    /// Divides the chunks of a batch.
    pub(super) fn shards(&self, rows: usize, size: usize) -> Result<Shards> {
        let chunks = rows.div_ceil(size);
        Shards::new(chunks, self.size).ok_or_else(|| {
            let expected = format!("at least one chunk of {size} for each of {} ranks", self.size);
            Error::value("rows", expected, format!("{rows} rows, which are {chunks} chunks"))
        })
    }

    /// Returns the result if all ranks have one. If some have an error, these return it, and all others return an error
    /// with its message.
    ///
    /// It also makes every rank wait until all have come here.
    ///
    /// # Errors
    ///
    /// The rank's own error, or [`Error::Rank`] with the error of the first rank that has one.
    ///
    /// # Example
    ///
    /// See [`Mpi`].
    #[doc(alias = "barrier")]
    pub fn agree<R, E: From<Error> + Display>(&self, result: Result<R, E>) -> Result<R, E> {
        let record = match &result {
            Ok(_) => Record::new(Act::Agree, [0; 2]),
            Err(error) => Record::failed(Act::Agree, self.rank, error),
        };
        let together = self.begin(record);
        let result = result?;
        together?;
        Ok(result)
    }

    /// Checks that something is the same on all ranks, for instance the width of their data.
    ///
    /// # Errors
    ///
    /// On all ranks if it is not; the message names the first rank that differs from rank 0, and both values.
    ///
    /// # Example
    ///
    /// See [`Mpi`].
    pub fn same(&self, what: &str, value: impl Display) -> Result<()> {
        let text = value.to_string();
        let mut record = Record::new(Act::Same, [0; 2]);
        record.0[HEAD - 1] = hash(text.as_bytes());
        record.set_text(&text);
        let records = self.exchange_records(record)?;
        let first = &records[0];
        match records.iter().position(|record| record.marks() != first.marks()) {
            None => Ok(()),
            Some(rank) => {
                let message =
                    format!("{what}: expected {}, as on rank 0, found {}", first.text(), records[rank].text());
                Err(Error::Rank { rank, message })
            }
        }
    }

    /// Begins a common act: every rank hears of the errors of the others. Returns the records of all ranks.
    pub(super) fn begin(&self, record: Record) -> Result<Vec<Record>> {
        let records = self.exchange_records(record)?;
        if let Some(rank) = records.iter().position(Record::has_failed) {
            return Err(Error::Rank { rank, message: records[rank].text() });
        }
        if let Some(rank) = records.iter().position(|record| record.marks() != records[0].marks()) {
            let (expected, found) = (records[0].marks(), records[rank].marks());
            let message = format!(
                "{}: expected {} rows or numbers in chunks of {}, as on rank 0, found {} in chunks of {}",
                records[0].act().name(),
                expected[0],
                expected[1],
                found[0],
                found[1]
            );
            return Err(Error::Rank { rank, message });
        }
        Ok(records)
    }

    fn exchange_records(&self, record: Record) -> Result<Vec<Record>> {
        let is_gone = |rank: usize| self.gone[rank].load(Ordering::Relaxed);
        let ended = |rank| Err(Error::Rank { rank, message: "it has ended its part of the run".into() });
        if let (Some(rank), false) = ((0..self.size).find(|&rank| is_gone(rank)), record.act() == Act::Left) {
            return ended(rank);
        }
        let mut records = vec![record.clone(); self.size];
        let others = |rank: &usize| *rank != self.rank && !is_gone(*rank);
        let receives = records.iter_mut().enumerate().filter(|(rank, _)| others(rank));
        self.wire.exchange(
            &format!("at the beginning of {}", record.act().name()),
            RECORD,
            (0..self.size).filter(others).map(|rank| (rank, &record.0[..])),
            receives.map(|(rank, record)| (rank, &mut record.0[..])),
        );
        for (rank, other) in records.iter().enumerate().filter(|(rank, _)| *rank != self.rank) {
            if other.act() == Act::Left {
                self.gone[rank].store(true, Ordering::Relaxed);
            }
        }
        if let Some(rank) = records.iter().position(|other| other.act() == Act::Left && record.act() != Act::Left) {
            return ended(rank);
        }
        match records.iter().position(|other| other.act() != records[0].act()) {
            Some(rank) if record.act() != Act::Left => {
                let (expected, found) = (records[0].act().name(), records[rank].act().name());
                Err(Error::Rank { rank, message: format!("expected {expected}, as on rank 0, found {found}") })
            }
            _ => Ok(records),
        }
    }

    /// Gives all ranks the numbers of rank 0.
    ///
    /// Rank 0 sends each rank another part of them, and the ranks send their parts to each other. So no rank sends more
    /// than about twice the numbers.
    ///
    /// # Errors
    ///
    /// If a rank has another count of numbers.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::parallel::Mpi;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let mpi = Mpi::world()?;
    /// let mut numbers = [mpi.rank() as f64, 5.0];
    /// mpi.broadcast_numbers(&mut numbers)?;
    /// assert_eq!(numbers, [0.0, 5.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast_numbers<T: Equivalence>(&self, numbers: &mut [T]) -> Result<()> {
        self.begin(Record::new(Act::Broadcast, [numbers.len() as u64, size_of::<T>() as u64]))?;
        let ranges = self.ranges(numbers.len());
        if self.rank == 0 {
            let sends = ranges.iter().enumerate().skip(1).map(|(rank, range)| (rank, &numbers[range.clone()]));
            self.wire.exchange("in broadcast", SCATTER, not_empty(sends), []);
        } else {
            let receive = [(0, &mut numbers[ranges[self.rank].clone()])];
            self.wire.exchange("in broadcast", SCATTER, [], receive.into_iter().filter(|(_, to)| !to.is_empty()));
        }
        self.gather("in broadcast", numbers);
        Ok(())
    }

    /// Divides numbers into a range for each rank.
    pub(super) fn ranges(&self, length: usize) -> Vec<Range<usize>> {
        let bound = |rank: usize| (length as u128 * rank as u128 / self.size as u128) as usize;
        (0..self.size).map(|rank| bound(rank)..bound(rank + 1)).collect()
    }

    /// Every rank has its range of the numbers. This gives all ranks the rest.
    pub(super) fn gather<T: Equivalence>(&self, doing: &str, numbers: &mut [T]) {
        let (mut mine, mut others, mut rest) = (&[][..], Vec::new(), numbers);
        for (rank, range) in self.ranges(rest.len()).into_iter().enumerate() {
            let (part, after) = rest.split_at_mut(range.len());
            rest = after;
            if rank == self.rank {
                mine = part;
            } else if !part.is_empty() {
                others.push((rank, part));
            }
        }
        let to = (0..self.size).filter(|&rank| rank != self.rank);
        self.wire.exchange(doing, GATHER, not_empty(to.map(|rank| (rank, mine))), others);
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }
}

/// Drops messages without content: an empty range has none.
pub(super) fn not_empty<'a, T: 'a>(
    messages: impl Iterator<Item = (usize, &'a [T])>,
) -> impl Iterator<Item = (usize, &'a [T])> {
    messages.filter(|(_, message)| !message.is_empty())
}

/// Returns the 64-bit FNV-1a hash.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The others wait for this rank, and MPI cannot end without them.
            self.wire.abort(101);
        }
        // Nobody hears an error of the end.
        let _ = self.exchange_records(Record::new(Act::Left, [0; 2]));
    }
}

/// Prints rank and size.
impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size)
    }
}
