//! The mark by which a process vouches that it acknowledges nothing before it is flushed, so that nothing of
//! it can be missing when the process ends in whatever way (KIP-966).
//!
//! The file holds the broker epoch that the mark is good for: a process that knows nothing of it has another.

use std::io;
use std::sync::Mutex;

use ottla_wire::BrokerEpoch;

use super::DataDir;
use super::setup::{FLUSHED_FIRST, Mark, mark_text};
use super::slots::locked;
use crate::disk::replace_file;

/// What is vouched for in a directory.
pub(super) struct FlushedFirst {
    /// What an earlier process left.
    found: Option<BrokerEpoch>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unmarked,
    Marked,
    /// Something may be acknowledged before it is flushed. Only another process may vouch again.
    GivenUp,
}

impl FlushedFirst {
    /// With the mark that was found.
    pub(super) fn found(mark: Option<Mark>) -> FlushedFirst {
        let state = if mark.is_some() { State::Marked } else { State::Unmarked };
        FlushedFirst { found: mark.and_then(|mark| mark.broker_epoch), state: Mutex::new(state) }
    }
}

impl DataDir {
    /// The broker epoch in which earlier processes flushed everything before they acknowledged it, if they
    /// vouch for that.
    pub fn flushed_first_epoch(&self) -> Option<BrokerEpoch> {
        self.inner.flushed_first.found
    }

    /// Vouches, durably, that in `epoch` everything is flushed before it is acknowledged. MUST NOT be called
    /// if something that was acknowledged earlier may not be flushed. Does nothing after
    /// [`give_up_flushed_first`](Self::give_up_flushed_first).
    pub fn vouch_flushed_first(&self, epoch: BrokerEpoch) -> io::Result<()> {
        let mut state = locked(&self.inner.flushed_first.state);
        if *state == State::GivenUp {
            return Ok(());
        }
        let text = mark_text(Some(epoch));
        let marked = replace_file(&*self.inner.disk, &self.inner.path, FLUSHED_FIRST, text.as_bytes());
        *state = State::Marked;
        marked.inspect_err(|error| self.inner.health.judge_own("write the mark of flushing first", error))
    }

    /// Takes the mark away, durably. MUST be done before anything is acknowledged that is not flushed.
    pub fn give_up_flushed_first(&self) -> io::Result<()> {
        let mut state = locked(&self.inner.flushed_first.state);
        if *state == State::Marked {
            let removed = self.inner.disk.remove_file(&self.inner.path.join(FLUSHED_FIRST));
            removed.and_then(|()| self.inner.disk.sync_dir(&self.inner.path)).inspect_err(|error| {
                self.inner.health.judge_own("remove the mark of flushing first", error)
            })?;
        }
        *state = State::GivenUp;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Identity;

    fn open(path: &Path) -> DataDir {
        let identity = Identity { node_id: Some(1), cluster_id: Some("c".to_owned()) };
        DataDir::open(path, &identity).unwrap()
    }

    #[test]
    fn the_mark_outlives_its_process_until_it_is_given_up() {
        let temp = tempfile::tempdir().unwrap();
        let epoch = BrokerEpoch(7);
        let dir = open(temp.path());
        assert_eq!(dir.flushed_first_epoch(), None);
        dir.vouch_flushed_first(epoch).unwrap();
        assert_eq!(dir.flushed_first_epoch(), None, "it is of earlier processes");
        drop(dir);
        let dir = open(temp.path());
        assert_eq!(dir.flushed_first_epoch(), Some(epoch));
        dir.give_up_flushed_first().unwrap();
        dir.give_up_flushed_first().unwrap();
        // What was not flushed first stays so, whoever vouches later.
        dir.vouch_flushed_first(BrokerEpoch(8)).unwrap();
        drop(dir);
        assert_eq!(open(temp.path()).flushed_first_epoch(), None);
    }

    #[test]
    fn who_gives_up_first_never_vouches() {
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path());
        dir.give_up_flushed_first().unwrap();
        dir.vouch_flushed_first(BrokerEpoch(8)).unwrap();
        drop(dir);
        assert_eq!(open(temp.path()).flushed_first_epoch(), None);
    }
}
