//! [`Wire`]: messages between ranks that never wait for longer than a given time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mpi::environment::Universe;
use mpi::request::multiple_scope;
use mpi::traits::{Communicator, Destination, Equivalence, Source};
use mpi::{Rank, Tag};

/// How long a rank that gives up waits before it ends the run: the time for others to say the same.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a rank asks for messages without a pause.
const AWAKE: Duration = Duration::from_millis(2);
/// The pause between two questions after that.
const PAUSE: Duration = Duration::from_micros(50);
/// The exit code of a run that a rank ends.
const ENDED: i32 = 1;

/// The ranks of a run, and how long one waits for another.
pub(super) struct Wire {
    universe: Universe,
    /// Held while messages are on their way: MPI is called by one thread at a time.
    busy: Mutex<()>,
    pub(super) timeout: Duration,
}

impl Wire {
    pub(super) fn new(universe: Universe, timeout: Duration) -> Self {
        Self { universe, busy: Mutex::new(()), timeout }
    }

    pub(super) fn rank(&self) -> usize {
        self.universe.world().rank() as usize
    }

    pub(super) fn size(&self) -> usize {
        self.universe.world().size() as usize
    }

    /// Takes the turn of calling MPI.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends and receives messages, each with the rank that it goes to or comes from, and returns when all have arrived.
    ///
    /// If nothing moves for the timeout, it says which ranks are silent, and ends the run.
    pub(super) fn exchange<'a, T: Equivalence>(
        &self,
        doing: &str,
        tag: Tag,
        sends: impl IntoIterator<Item = (usize, &'a [T])>,
        receives: impl IntoIterator<Item = (usize, &'a mut [T])>,
    ) where
        [T]: 'a,
    {
        let _turn = self.turn();
        let world = self.universe.world();
        multiple_scope(2 * self.size(), |scope, requests| {
            // The ranks of the requests, in their order; `None` for one that is complete.
            let mut open: Vec<Option<usize>> = Vec::new();
            for (rank, to) in receives {
                requests.add(world.process_at_rank(rank as Rank).immediate_receive_into_with_tag(scope, to, tag));
                open.push(Some(rank));
            }
            for (rank, from) in sends {
                requests.add(world.process_at_rank(rank as Rank).immediate_send_with_tag(scope, from, tag));
                open.push(Some(rank));
            }
            let (mut waiting, mut done, mut last) = (open.len(), Vec::new(), Instant::now());
            while waiting > 0 {
                requests.test_some(&mut done);
                if done.is_empty() {
                    let silence = last.elapsed();
                    if silence > self.timeout {
                        let mut silent: Vec<usize> = open.into_iter().flatten().collect();
                        silent.sort_unstable();
                        silent.dedup();
                        // What is on its way uses memory of the caller: from here there is no way back.
                        self.give_up(&format!("no message from rank {silent:?} for {silence:.0?}, {doing}"));
                    }
                    if silence < AWAKE {
                        std::thread::yield_now()
                    } else {
                        std::thread::sleep(PAUSE)
                    }
                    continue;
                }
                last = Instant::now();
                for (index, _, _) in done.drain(..) {
                    open[index] = None;
                    waiting -= 1;
                }
            }
        });
    }

    /// Says why, and ends all processes of the run.
    pub(super) fn give_up(&self, why: &str) -> ! {
        eprintln!("rank {}: {why}; the run ends", self.rank());
        std::thread::sleep(LAST_WORDS);
        self.abort(ENDED)
    }

    /// Ends all processes of the run.
    pub(super) fn abort(&self, code: i32) -> ! {
        self.universe.world().abort(code)
    }
}
