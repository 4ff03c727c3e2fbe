//! Files that are replaced as a whole or not at all.
//!
//! A writer of `NAME` fills a file of its own beside it, `NAME.PROCESS.NUMBER.part`. It holds a lock on that file until
//! the file has got its name. The system releases the lock of a process that is killed. So a `.part` file without a lock
//! is stale, and the next writer of `NAME` removes it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes a file beside `path`, syncs it, gives it the name of `path`, and syncs the directory.
///
/// # Errors
///
/// If the system refuses a step. Only the last step leaves the new file in place of the old one.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not the name of a file"));
    };
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    remove_stale(directory, name);
    let (file, aside) = create_aside(path, name)?;
    let written = write(&file).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&aside, path));
    if let Err(error) = renamed {
        // The error to report is the first one.
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    sync_directory(directory)
}

/// Makes a new name last through a power failure. Windows has no way to say this, and some file systems have none.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        synced => synced,
    }
}

/// How many files this process has begun: each gets a name of its own, whichever thread writes it.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// Creates a new file beside `path`, and locks it.
fn create_aside(path: &Path, name: &OsStr) -> io::Result<(File, PathBuf)> {
    loop {
        let mut aside = name.to_os_string();
        aside.push(format!(".{}.{}.part", std::process::id(), BEGUN.fetch_add(1, Ordering::Relaxed)));
        let aside = path.with_file_name(aside);
        let file = match File::create_new(&aside) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            created => created?,
        };
        // Without locks (on some network drives) no file is taken for stale, so there is nothing to guard against.
        let _ = file.lock();
        // Another writer may have seen the file before it was locked, and removed it.
        if aside.try_exists()? {
            return Ok((file, aside));
        }
    }
}

/// Removes the files that killed writers of `name` left. One that cannot be removed now stays for the next time.
fn remove_stale(directory: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        // Opening something else than a file, a pipe for example, could wait forever.
        if is_aside(&entry.file_name(), name)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::options().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Returns whether a file has the name of one that a writer of `name` fills: `name.NUMBER.NUMBER.part`.
fn is_aside(file: &OsStr, name: &OsStr) -> bool {
    let numbers = file.as_encoded_bytes().strip_prefix(name.as_encoded_bytes()).and_then(|rest| {
        let rest = rest.strip_prefix(b".")?;
        rest.strip_suffix(b".part")
    });
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    numbers.is_some_and(|numbers| {
        let mut parts = numbers.split(|&byte| byte == b'.');
        parts.by_ref().take(2).filter(|digits| is_number(digits)).count() == 2 && parts.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_write_that_fails_halfway_leaves_the_old_file_whole_and_nothing_beside_it() {
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = directory.path().join("a");
        fs::write(&path, "old").expect("the file is written");
        let failed = replace(&path, |mut file| {
            file.write_all(b"ne")?;
            assert_eq!(fs::read_dir(directory.path())?.count(), 2);
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.expect_err("it fails").to_string(), "the disk is full");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "old");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
        replace(&path, |mut file| file.write_all(b"new")).expect("the file is written");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "new");
    }

    #[test]
    fn a_writer_leaves_the_file_of_another_one_alone() {
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = directory.path().join("a");
        replace(&path, |mut first| {
            first.write_all(b"first")?;
            replace(&path, |mut second| second.write_all(b"second"))
        })
        .expect("both are written");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "first");
    }
}
