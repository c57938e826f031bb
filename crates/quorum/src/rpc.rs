//! What voters say to each other. Each is one opaque request and one answer to the
//! [`Transport`](crate::Transport).
//!
//! ```text
//! request   u8 version 1, u8 kind, then
//!   1 vote      vote, optional last log id
//!   2 append    vote, optional log id before, optional committed log id, u32 entries,
//!               each: u32 length, entry
//!   3 snapshot  vote, snapshot head (log id, stored membership, u32 length id), u64 offset, u8 done,
//!               u32 length, bytes
//! answer    u8 version 1, u8 kind, then
//!   1 vote      vote, u8 granted, optional last log id
//!   2 append    u8 0 success | 1 conflict | 2 (partial) optional log id | 3 (higher) vote
//!   3 snapshot  vote
//!   4 snapshot mismatch   expected and got, each: u32 length id, u64 offset
//!   5 stopped   nothing: the node's quorum does not run
//! ```

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{SnapshotMeta, SnapshotSegmentId};
use ottla_wire::ids::BrokerId;

use crate::codec::{Input, Malformed, Output, entry_size};
use crate::disk::FILE_BYTES_MAX;
use crate::raft::TypeConfig;

const VERSION: u8 = 1;
const VOTE: u8 = 1;
const APPEND: u8 = 2;
const SNAPSHOT: u8 = 3;
const MISMATCH: u8 = 4;
const STOPPED: u8 = 5;

const APPEND_SUCCESS: u8 = 0;
const APPEND_CONFLICT: u8 = 1;
const APPEND_PARTIAL: u8 = 2;
const APPEND_HIGHER: u8 = 3;

/// A request from one voter to another.
pub(crate) enum Request {
    Vote(VoteRequest<BrokerId>),
    Append(AppendEntriesRequest<TypeConfig>),
    Snapshot(InstallSnapshotRequest<TypeConfig>),
}

/// The other voter's reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum VoterAnswer {
    Vote(VoteResponse<BrokerId>),
    Append(AppendEntriesResponse<BrokerId>),
    Snapshot(InstallSnapshotResponse<BrokerId>),
    /// The piece of a snapshot does not continue the pieces received before.
    Mismatch {
        expect: SnapshotSegmentId,
        got: SnapshotSegmentId,
    },
    /// Its quorum has stopped.
    Stopped,
}

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.u8(VERSION);
        match self {
            Request::Vote(request) => {
                out.u8(VOTE);
                out.vote(&request.vote);
                out.log_id_option(request.last_log_id.as_ref());
            }
            Request::Append(request) => {
                out.u8(APPEND);
                out.vote(&request.vote);
                out.log_id_option(request.prev_log_id.as_ref());
                out.log_id_option(request.leader_commit.as_ref());
                out.count(request.entries.len());
                for entry in &request.entries {
                    let mut bytes = Vec::with_capacity(entry_size(entry));
                    bytes.entry(entry);
                    out.bytes(&bytes);
                }
            }
            Request::Snapshot(request) => {
                out.u8(SNAPSHOT);
                out.vote(&request.vote);
                out.log_id_option(request.meta.last_log_id.as_ref());
                out.stored_membership(&request.meta.last_membership);
                out.bytes(request.meta.snapshot_id.as_bytes());
                out.u64(request.offset);
                out.bool(request.done);
                out.bytes(&request.data);
            }
        }
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Request, Malformed> {
        let mut input = Input::new(bytes);
        let request = match begin(&mut input)? {
            VOTE => Request::Vote(VoteRequest { vote: input.vote()?, last_log_id: input.log_id_option()? }),
            APPEND => Request::Append(append_request(&mut input)?),
            SNAPSHOT => Request::Snapshot(snapshot_request(&mut input)?),
            _ => return Err(Malformed("kind of request")),
        };
        input.end()?;
        Ok(request)
    }
}

impl VoterAnswer {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.u8(VERSION);
        match self {
            VoterAnswer::Vote(answer) => {
                out.u8(VOTE);
                out.vote(&answer.vote);
                out.bool(answer.vote_granted);
                out.log_id_option(answer.last_log_id.as_ref());
            }
            VoterAnswer::Append(answer) => {
                out.u8(APPEND);
                match answer {
                    AppendEntriesResponse::Success => out.u8(APPEND_SUCCESS),
                    AppendEntriesResponse::Conflict => out.u8(APPEND_CONFLICT),
                    AppendEntriesResponse::PartialSuccess(matching) => {
                        out.u8(APPEND_PARTIAL);
                        out.log_id_option(matching.as_ref());
                    }
                    AppendEntriesResponse::HigherVote(vote) => {
                        out.u8(APPEND_HIGHER);
                        out.vote(vote);
                    }
                }
            }
            VoterAnswer::Snapshot(answer) => {
                out.u8(SNAPSHOT);
                out.vote(&answer.vote);
            }
            VoterAnswer::Mismatch { expect, got } => {
                out.u8(MISMATCH);
                for segment in [expect, got] {
                    out.bytes(segment.id.as_bytes());
                    out.u64(segment.offset);
                }
            }
            VoterAnswer::Stopped => out.u8(STOPPED),
        }
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<VoterAnswer, Malformed> {
        let mut input = Input::new(bytes);
        let answer = match begin(&mut input)? {
            VOTE => {
                let vote = input.vote()?;
                let vote_granted = input.bool("granted")?;
                VoterAnswer::Vote(VoteResponse { vote, vote_granted, last_log_id: input.log_id_option()? })
            }
            APPEND => VoterAnswer::Append(match input.u8("append answer")? {
                APPEND_SUCCESS => AppendEntriesResponse::Success,
                APPEND_CONFLICT => AppendEntriesResponse::Conflict,
                APPEND_PARTIAL => AppendEntriesResponse::PartialSuccess(input.log_id_option()?),
                APPEND_HIGHER => AppendEntriesResponse::HigherVote(input.vote()?),
                _ => return Err(Malformed("append answer")),
            }),
            SNAPSHOT => VoterAnswer::Snapshot(InstallSnapshotResponse { vote: input.vote()? }),
            MISMATCH => {
                VoterAnswer::Mismatch { expect: segment_id(&mut input)?, got: segment_id(&mut input)? }
            }
            STOPPED => VoterAnswer::Stopped,
            _ => return Err(Malformed("kind of answer")),
        };
        input.end()?;
        Ok(answer)
    }
}

fn begin(input: &mut Input) -> Result<u8, Malformed> {
    match input.u8("version")? {
        VERSION => input.u8("kind"),
        _ => Err(Malformed("version, newer than this release speaks")),
    }
}

fn append_request(input: &mut Input) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    let vote = input.vote()?;
    let prev_log_id = input.log_id_option()?;
    let leader_commit = input.log_id_option()?;
    let mut entries = Vec::new();
    for i in 0..input.count(4, "entries")? as u64 {
        let mut bytes = Input::new(input.bytes("entry")?);
        let entry = bytes.entry()?;
        bytes.end()?;
        // The log asserts that it has no holes. Bytes from outside must not trigger the assertion.
        if entry.log_id.index != prev_log_id.map_or(0, |id| id.index.saturating_add(1)).saturating_add(i) {
            return Err(Malformed("index of an entry"));
        }
        entries.push(entry);
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn snapshot_request(input: &mut Input) -> Result<InstallSnapshotRequest<TypeConfig>, Malformed> {
    let vote = input.vote()?;
    let last_log_id = input.log_id_option()?;
    let last_membership = input.stored_membership()?;
    let snapshot_id = text(input)?;
    let offset = input.u64("offset")?;
    let done = input.bool("done")?;
    let data = input.bytes("data")?;
    if offset.saturating_add(data.len() as u64) > FILE_BYTES_MAX {
        return Err(Malformed("length of a snapshot"));
    }
    let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
    Ok(InstallSnapshotRequest { vote, meta, offset, data: data.into(), done })
}

fn segment_id(input: &mut Input) -> Result<SnapshotSegmentId, Malformed> {
    Ok(SnapshotSegmentId { id: text(input)?, offset: input.u64("offset")? })
}

fn text(input: &mut Input) -> Result<String, Malformed> {
    let bytes = input.bytes("snapshot id")?;
    std::str::from_utf8(&bytes).map(str::to_string).map_err(|_| Malformed("snapshot id"))
}
