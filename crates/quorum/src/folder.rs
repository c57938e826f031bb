//! The content of the metadata folder when a quorum starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ottla_wire::ids::BrokerId;

use crate::disk::Disk;
use crate::journal::{Journal, Replayed};
use crate::raft::{Entry, Membership, Payload, Vote, log_id};
use crate::snapshot::{self, Head, Snapshot};
use crate::types::{Settings, StartError, StateMachine};
use crate::{owner, vote};

/// The term in which a quorum of one is created.
const FIRST_TERM: u64 = 1;

/// Everything that the folder holds.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) replayed: Replayed,
    pub(crate) vote: Option<Vote>,
    pub(crate) snapshot: Option<(Head, PathBuf)>,
    /// The state machine, restored to the snapshot.
    pub(crate) machine: Box<dyn StateMachine>,
}

impl Opened {
    /// Reads the folder, and creates it at the first start. A quorum of one (`alone`) is created as if it had
    /// already been elected. That saves half of the flushes that openraft would do in sequence.
    pub(crate) fn read(
        disk: Disk,
        dir: &Path,
        settings: &Settings,
        alone: Option<BrokerId>,
        mut machine: Box<dyn StateMachine>,
    ) -> Result<Opened, StartError> {
        let first = alone.map(first_entries).unwrap_or_default();
        let (journal, replayed) = Journal::open(&disk, dir, settings.segment_bytes, &first)?;
        if replayed.cut > 0 {
            tracing::warn!(dir = %dir.display(), bytes = replayed.cut, "cut an unfinished write off the metadata log");
        }
        if let Some(cluster) = &settings.cluster_id {
            owner::claim(&disk, dir, cluster)?;
        }
        let mut vote = vote::load(&disk, dir)?;
        if let (Some(node), None) = (alone, &vote)
            && replayed.entries.iter().eq(&first)
        {
            // After the log, because a crash between the two then leaves a log that says who may vote.
            let elected = Vote::new_committed(FIRST_TERM, node);
            vote::save(&disk, dir, &elected)
                .map_err(|source| StartError::Io { dir: dir.to_path_buf(), source })?;
            vote = Some(elected);
        }
        let snapshot = snapshot::load(&disk, dir)?;
        check(dir, &replayed, vote.as_ref(), snapshot.as_ref().map(|(snapshot, _)| &snapshot.head))?;
        let snapshot = snapshot.map(|(Snapshot { head, records }, path)| {
            machine.restore(head.index, records);
            (head, path)
        });
        Ok(Opened { journal, replayed, vote, snapshot, machine })
    }
}

/// The first entries of the log of a quorum of one: the voters, and the blank entry of the first leader.
fn first_entries(node: BrokerId) -> Vec<Entry> {
    let membership = Membership::new(vec![BTreeSet::from([node])], ());
    vec![
        Entry { log_id: log_id(0, 0), payload: Payload::Membership(membership) },
        Entry { log_id: log_id(FIRST_TERM, 1), payload: Payload::Blank },
    ]
}

/// Checks that the files fit together.
fn check(
    dir: &Path,
    replayed: &Replayed,
    vote: Option<&Vote>,
    snapshot: Option<&Head>,
) -> Result<(), StartError> {
    let damaged = |file: PathBuf, reason: String| Err(StartError::Damaged { file, position: 0, reason });
    if let Some(before) = replayed.before
        && snapshot.is_none_or(|head| head.last.index < before.index)
    {
        let reason = format!("the log begins after entry {}, and no snapshot reaches there", before.index);
        return damaged(dir.to_path_buf(), reason);
    }
    // A vote is saved before any entry of its term. Without the vote this node could vote twice in one term.
    let log_term = replayed
        .entries
        .back()
        .map(|entry| entry.log_id)
        .or(replayed.before)
        .map_or(0, |id| id.leader_id.term);
    let vote_term = vote.map_or(0, |vote| vote.leader_id.term);
    if vote_term < log_term {
        let reason = format!("the vote is of term {vote_term}, and the log of term {log_term}");
        return damaged(dir.join(vote::FILE), reason);
    }
    Ok(())
}
