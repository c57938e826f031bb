//! What an error of the file system means: one table, for everybody who has to decide what to do about one.

use std::error::Error;
use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was asked for cannot be done, and the disk is as good as before: whoever asked is told.
    Fails,
    /// Something is short that comes back: the same may work in a moment.
    Again,
    /// There is no room on the disk. What is there can be read.
    Full,
    /// Nobody knows what the disk holds, or whether it is there: the data directory goes offline.
    Offline,
}

impl Verdict {
    /// The verdict on an error that a file, or a [`Disk`](crate::Disk), has given.
    pub fn of(error: &io::Error) -> Verdict {
        if is_of_sync(error) {
            return Verdict::Offline;
        }
        match Errno::from_io_error(error) {
            Some(errno) => of_errno(errno),
            None => of_kind(error.kind()),
        }
    }
}

fn of_errno(errno: Errno) -> Verdict {
    match errno {
        // Of this process (RLIMIT_NOFILE), of the machine, of memory, of threads (or of memory that can be
        // locked); a signal came.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR => Verdict::Again,
        Errno::NOSPC | Errno::DQUOT => Verdict::Full,
        // A name that is there or is not, or cannot be: the answer of a disk that works.
        Errno::NOENT | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY => Verdict::Fails,
        Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV | Errno::MLINK | Errno::ILSEQ => Verdict::Fails,
        // Somebody has changed who may do what: that one can change it back.
        Errno::ACCESS | Errno::PERM => Verdict::Fails,
        // What is asked for goes beyond what this file system does.
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::FBIG | Errno::OVERFLOW => Verdict::Fails,
        // Somebody else uses it, and may go on doing so.
        Errno::BUSY | Errno::TXTBSY | Errno::NOLCK => Verdict::Fails,
        // EIO, ENODEV, ENXIO, EROFS (how a file system stops when it finds itself damaged), EUCLEAN, ESTALE,
        // ETIMEDOUT, EBADF, ... and whatever nobody has thought of.
        _ => Verdict::Offline,
    }
}

/// Errors that our own code makes, and those of disks in memory.
fn of_kind(kind: io::ErrorKind) -> Verdict {
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidInput => {
            Verdict::Fails
        }
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Verdict::Again,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Verdict::Full,
        // Among them what is not as it was written, and writes that take nothing.
        _ => Verdict::Offline,
    }
}

/// A sync that failed.
#[derive(Debug)]
struct SyncFailed(io::Error);

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sync: {}", self.0)
    }
}

impl Error for SyncFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Marks the error of a sync. Whatever the number says, the kernel may have dropped the pages, and a second
/// try would report success for data that is lost.
pub fn sync_failed(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), SyncFailed(error))
}

fn is_of_sync(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<SyncFailed>())
}

/// How long what is short is waited for, on threads that serve others.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Does something that fails while descriptors or memory are short, until it works or about `patience` has
/// passed. Blocks the thread meanwhile.
pub fn patiently<T>(patience: Duration, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (mut waited, mut pause) = (Duration::ZERO, FIRST_PAUSE);
    loop {
        match work() {
            Err(error) if Verdict::of(&error) == Verdict::Again && waited < patience => {
                thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number that opening, reading, writing, renaming, removing, syncing or locking a file can give,
    /// and starting a thread or mapping memory.
    #[test]
    fn each_error_has_its_verdict() {
        let table: &[(Verdict, &[Errno])] = &[
            (Verdict::Again, &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR]),
            (Verdict::Full, &[Errno::NOSPC, Errno::DQUOT]),
            (Verdict::Fails, &[Errno::NOENT, Errno::EXIST, Errno::NOTDIR, Errno::ISDIR, Errno::NOTEMPTY]),
            (Verdict::Fails, &[Errno::NAMETOOLONG, Errno::LOOP, Errno::XDEV, Errno::MLINK, Errno::ILSEQ]),
            (Verdict::Fails, &[Errno::ACCESS, Errno::PERM, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]),
            (Verdict::Fails, &[Errno::FBIG, Errno::OVERFLOW, Errno::BUSY, Errno::TXTBSY, Errno::NOLCK]),
            (Verdict::Offline, &[Errno::IO, Errno::ROFS, Errno::NODEV, Errno::NXIO, Errno::UCLEAN]),
            (Verdict::Offline, &[Errno::STALE, Errno::TIMEDOUT, Errno::BADF, Errno::NOTCONN, Errno::FAULT]),
        ];
        for (verdict, errnos) in table {
            for errno in *errnos {
                assert_eq!(Verdict::of(&(*errno).into()), *verdict, "{errno:?}");
                let synced = sync_failed((*errno).into());
                assert_eq!(Verdict::of(&synced), Verdict::Offline, "{errno:?} of a sync");
            }
        }
    }

    #[test]
    fn what_our_own_code_says_has_a_verdict_too() {
        let kinds = [
            (io::ErrorKind::NotFound, Verdict::Fails),
            (io::ErrorKind::StorageFull, Verdict::Full),
            (io::ErrorKind::Interrupted, Verdict::Again),
            (io::ErrorKind::InvalidData, Verdict::Offline),
            (io::ErrorKind::UnexpectedEof, Verdict::Offline),
            (io::ErrorKind::WriteZero, Verdict::Offline),
            (io::ErrorKind::Other, Verdict::Offline),
        ];
        for (kind, verdict) in kinds {
            assert_eq!(Verdict::of(&kind.into()), verdict, "{kind:?}");
        }
    }

    #[test]
    fn what_is_short_is_waited_for_and_nothing_else() {
        let tries = |fails: usize, errno: Errno| {
            let mut tries = 0;
            let done = patiently(PATIENCE, || {
                tries += 1;
                if tries > fails { Ok(()) } else { Err(io::Error::from(errno)) }
            });
            (tries, done.is_ok())
        };
        assert_eq!(tries(3, Errno::MFILE), (4, true));
        assert_eq!(tries(3, Errno::IO), (1, false));
        let (tries, done) = tries(usize::MAX, Errno::MFILE);
        assert!(tries > 5 && !done, "{tries}");
    }
}
