//! The content of the metadata folder when a quorum starts.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_log::{Disk as _, RealDisk};
use ottla_wire::ids::BrokerId;

use crate::disk::Disk;
use crate::journal::{Journal, Reading, Replayed};
use crate::raft::{Entry, Membership, Payload, Vote, log_id};
use crate::snapshot::{self, Head, Snapshot};
use crate::types::{Settings, StartError, StateMachine};
use crate::{owner, vote};

/// The term in which a quorum of one is created.
const FIRST_TERM: u64 = 1;

/// The folder, open for writing.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) replayed: Replayed,
    pub(crate) vote: Option<Vote>,
    pub(crate) snapshot: Option<(Head, PathBuf)>,
    /// The state machine, restored to the snapshot.
    pub(crate) machine: Box<dyn StateMachine>,
}

/// The folder, read and unchanged.
pub(crate) struct Contents {
    disk: Disk,
    dir: PathBuf,
    settings: Settings,
    alone: Option<BrokerId>,
    reading: Reading,
    /// The cluster that owns the folder, if it has an owner.
    owner: Option<String>,
    vote: Option<Vote>,
    snapshot: Option<(Head, PathBuf)>,
    machine: Box<dyn StateMachine>,
}

impl Contents {
    /// Reads the folder for `node`. A new folder is to have the `voters`. Every reason not to open the folder
    /// is an error here, and nothing is changed.
    pub(crate) fn read(
        disk: Disk,
        dir: &Path,
        node: BrokerId,
        voters: &BTreeSet<BrokerId>,
        settings: &Settings,
        mut machine: Box<dyn StateMachine>,
    ) -> Result<Contents, StartError> {
        let alone = (voters.len() == 1).then_some(node);
        let reading = Journal::read(&disk, dir)?;
        let owner = owner::load(&disk, dir)?;
        if let (Some(found), Some(expected)) = (&owner, &settings.cluster_id)
            && found != expected
        {
            let (found, expected) = (found.clone(), expected.clone());
            return Err(StartError::OtherCluster { dir: dir.to_path_buf(), found, expected });
        }
        let vote = vote::load(&disk, dir)?;
        let snapshot = snapshot::load(&disk, dir)?;
        let head = snapshot.as_ref().map(|(snapshot, _)| &snapshot.head);
        let replayed = reading.replayed();
        let elected = vote.or_else(|| unsaved_vote(alone, replayed));
        check(dir, replayed, elected.as_ref(), head)?;
        check_voters(dir, node, alone, replayed, head)?;
        let snapshot = snapshot.map(|(Snapshot { head, records }, path)| {
            machine.restore(head.index, records);
            (head, path)
        });
        let first = snapshot.as_ref().map_or(0, |(head, _)| head.last.index + 1);
        let entries = replayed.entries.iter().filter(|entry| entry.log_id.index >= first);
        machine
            .check(&mut entries.flat_map(proposals))
            .map_err(|reason| StartError::NotUnderstood { dir: dir.to_path_buf(), reason })?;
        check_writable(dir, reading.active())?;
        let (dir, settings) = (dir.to_path_buf(), settings.clone());
        Ok(Contents { disk, dir, settings, alone, reading, owner, vote, snapshot, machine })
    }

    /// The log holds no proposal.
    pub(crate) fn is_new(&self) -> bool {
        let proposed = |entry: &Entry| matches!(entry.payload, Payload::Normal(_));
        self.snapshot.is_none() && !self.reading.replayed().entries.iter().any(proposed)
    }

    /// Opens the folder for writing, and creates it at the first start. A quorum of one is created as if it
    /// had already been elected. That saves half of the flushes that openraft would do in sequence.
    pub(crate) fn open(self) -> Result<Opened, StartError> {
        let Contents { disk, dir, settings, alone, reading, owner, mut vote, snapshot, machine } = self;
        let io = |source| StartError::Io { dir: dir.clone(), source };
        let first = alone.map(first_entries).unwrap_or_default();
        let (journal, replayed) = reading.open(settings.segment_bytes, &first)?;
        if replayed.cut > 0 {
            tracing::warn!(dir = %dir.display(), bytes = replayed.cut, "cut an unfinished write off the metadata log");
        }
        if let (Some(cluster), None) = (&settings.cluster_id, owner) {
            owner::save(&disk, &dir, cluster).map_err(io)?;
        }
        if vote.is_none()
            && let Some(elected) = unsaved_vote(alone, &replayed)
        {
            vote::save(&disk, &dir, &elected).map_err(io)?;
            vote = Some(elected);
        }
        Ok(Opened { journal, replayed, vote, snapshot, machine })
    }
}

/// The vote for the new log of a quorum of one. It is saved after the log: a crash in between leaves a log
/// that says who votes.
fn unsaved_vote(alone: Option<BrokerId>, replayed: &Replayed) -> Option<Vote> {
    let node = alone?;
    replayed.entries.iter().eq(&first_entries(node)).then(|| Vote::new_committed(FIRST_TERM, node))
}

/// The proposals of an entry.
fn proposals(entry: &Entry) -> Vec<Vec<Bytes>> {
    match &entry.payload {
        Payload::Normal(batch) => batch.0.iter().map(|proposal| proposal.records.clone()).collect(),
        Payload::Blank | Payload::Membership(_) => Vec::new(),
    }
}

/// Checks that this node is a voter, and the only one if it is to be alone. A node that has only voted so far
/// knows no voters yet.
fn check_voters(
    dir: &Path,
    node: BrokerId,
    alone: Option<BrokerId>,
    replayed: &Replayed,
    snapshot: Option<&Head>,
) -> Result<(), StartError> {
    let of_log = replayed.entries.iter().rev().find_map(|entry| match &entry.payload {
        Payload::Membership(membership) => Some(membership),
        Payload::Blank | Payload::Normal(_) => None,
    });
    let membership = of_log.or_else(|| snapshot.map(|head| head.membership.membership()));
    let voters: Vec<BrokerId> = membership.map(|all| all.voter_ids().collect()).unwrap_or_default();
    let dir = dir.to_path_buf();
    if voters.is_empty() {
        return Ok(());
    }
    match alone {
        _ if !voters.contains(&node) => Err(StartError::NotVoter { dir, node, voters }),
        Some(_) if voters.len() > 1 => Err(StartError::NotAlone { dir, node, voters }),
        Some(_) | None => Ok(()),
    }
}

fn check_writable(dir: &Path, active: Option<PathBuf>) -> Result<(), StartError> {
    for path in std::iter::once(dir.to_path_buf()).chain(active) {
        match RealDisk.writable(&path) {
            // The folder is yet to be created. Its parent is the data directory, which has its own check.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            checked => checked.map_err(|source| StartError::NotWritable { path, source })?,
        }
    }
    Ok(())
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
