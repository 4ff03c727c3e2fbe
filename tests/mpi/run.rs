//! Starts this program under `mpirun`.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A run that hangs is ended after this time, and the test fails.
const TOO_LONG: Duration = Duration::from_secs(120);

/// What came out of a run.
#[derive(Debug)]
pub struct Run {
    pub succeeded: bool,
    pub time: Duration,
    /// What each rank has left in its file; empty if it has written nothing.
    pub said: Vec<String>,
    /// Standard output and error of all ranks.
    pub printed: String,
    pub directory: TempDir,
}

/// Runs an act on so many ranks, more of them than cores if need be.
#[track_caller]
pub fn run(act: &str, ranks: usize, variables: &[(&str, &str)]) -> Run {
    let directory = tempfile::tempdir().expect("a directory is made");
    let program = std::env::current_exe().expect("this program has a path");
    let printed = directory.path().join("printed");
    let output = fs::File::create(&printed).expect("the file is made");
    let start = Instant::now();
    let mut child = Command::new("mpirun")
        .args(["-n", &ranks.to_string()])
        .arg(program)
        .args(["--exact", "act", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("ACT", act)
        .env("OUT", directory.path())
        .envs(variables.iter().copied())
        // Open MPI asks for these: to start more ranks than cores, and in a container.
        .envs(
            ["OMPI_MCA_rmaps_base_oversubscribe", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
                .map(|name| (name, "1")),
        )
        .stdin(Stdio::null())
        .stderr(output.try_clone().expect("the file is open"))
        .stdout(output)
        .spawn()
        .unwrap_or_else(|error| panic!("mpirun does not start ({error}): install openmpi-bin"));
    let status = loop {
        match child.try_wait().expect("mpirun is ours") {
            Some(status) => break status,
            None if start.elapsed() > TOO_LONG => {
                child.kill().expect("mpirun is ours");
                panic!("`{act}` on {ranks} ranks hangs:\n{}", fs::read_to_string(printed).expect("it is there"));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut text = String::new();
    fs::File::open(printed).and_then(|mut file| file.read_to_string(&mut text)).expect("it is text");
    let said = |rank: usize| fs::read_to_string(directory.path().join(format!("{rank}"))).unwrap_or_default();
    Run {
        succeeded: status.success(),
        time: start.elapsed(),
        said: (0..ranks).map(said).collect(),
        printed: text,
        directory,
    }
}
