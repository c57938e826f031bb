//! Effects and views in words.

use std::fmt::Display;

use ottla_replica::{AppendError, DeleteError, Effect, Epochs, FetchRequest, LeaderReply, Replica, ViewRole};
use ottla_wire::batch::{AppendBatch, ControlRecord, batches};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, LeaderEpoch, Offset};

use crate::disk::{control, value};

/// What a replica wants done. `names` are those of the requests, by reply id.
pub fn effect(effect: &Effect, names: &[String], epochs: &Epochs) -> String {
    let name = |reply: &ottla_replica::ReplyId| {
        let at = usize::try_from(reply.0).ok();
        at.and_then(|at| names.get(at)).map_or("nobody", String::as_str)
    };
    match effect {
        Effect::Write(batch) => format!("write {}", batch_in_words(batch)),
        Effect::Flush { epoch, end } => format!("flush up to {end} (epoch {epoch})"),
        Effect::Truncate { to } => format!("truncate to {to}"),
        Effect::RestartAt(offset) => format!("drop the log and begin anew at {offset}"),
        Effect::MoveLogStart(start) => format!("log starts at {start}"),
        Effect::Reply { to, outcome: Ok(appended) } => {
            format!("answer {}: offset {}", name(to), appended.base_offset)
        }
        Effect::Reply { to, outcome: Err(why) } => format!("answer {}: {}", name(to), append_error(why)),
        Effect::DeleteReplied { to, outcome: Ok(low) } => format!("answer {}: low watermark {low}", name(to)),
        Effect::DeleteReplied { to, outcome: Err(why) } => {
            format!("answer {}: {}", name(to), delete_error(why))
        }
        Effect::ProposeIsr(proposal) => {
            let isr = list(proposal.isr.iter().map(|member| member.broker));
            format!("ask the controller for ISR {isr} (partition epoch {})", proposal.partition_epoch)
        }
        Effect::Fetch(request) => fetch(request),
        Effect::StopFetching => "stop fetching".to_owned(),
        Effect::EpochsChanged => format!("store epochs {}", epochs_in_words(epochs)),
        Effect::Aborted(aborted) => format!(
            "index the abort of producer {}: {}..{}, last stable {}",
            aborted.producer_id, aborted.first_offset, aborted.last_offset, aborted.last_stable_offset
        ),
    }
}

/// What a leader says to a follower.
pub fn reply(reply: &LeaderReply) -> String {
    match reply {
        LeaderReply::Records { records, high_watermark, .. } => {
            let found = batches(records.clone()).filter_map(Result::ok);
            let spans: Vec<String> = found.map(|batch| batch.header().base_offset.to_string()).collect();
            let spans = if spans.is_empty() {
                "nothing new".to_owned()
            } else {
                format!("records {}", spans.join(","))
            };
            format!("{spans}, high watermark {high_watermark}")
        }
        LeaderReply::Diverged { epoch, end } => format!("diverged, epoch {epoch} ends at {end}"),
        LeaderReply::OutOfRange { start, end } => format!("out of range, the log is {start}..{end}"),
        LeaderReply::Failed => "no answer".to_owned(),
    }
}

/// What readers see of a replica, as far as scripts tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    role: (ViewRole, Option<BrokerId>, LeaderEpoch),
    high_watermark: Offset,
    last_stable: Offset,
    isr: Vec<BrokerId>,
    elr: Vec<BrokerId>,
    under_min_isr: bool,
}

impl Seen {
    pub fn of(replica: &Replica) -> Seen {
        let view = replica.view();
        Seen {
            role: (view.role, view.leader, view.leader_epoch),
            high_watermark: view.high_watermark,
            last_stable: view.last_stable,
            isr: view.isr.to_vec(),
            elr: replica.elr().to_vec(),
            under_min_isr: view.under_min_isr,
        }
    }

    /// What is different now.
    pub fn changes(&self, now: &Seen) -> Vec<String> {
        let mut changes = Vec::new();
        if self.role != now.role {
            changes.push(role(now.role));
        }
        if self.isr != now.isr {
            changes.push(format!("ISR {}", list(now.isr.iter())));
        }
        if self.elr != now.elr {
            changes.push(format!("ELR {}", list(now.elr.iter())));
        }
        if self.under_min_isr != now.under_min_isr {
            let how = if now.under_min_isr { "below" } else { "at or above" };
            changes.push(format!("in sync: {how} min.insync.replicas"));
        }
        if self.high_watermark != now.high_watermark {
            changes.push(format!("high watermark {} -> {}", self.high_watermark, now.high_watermark));
        }
        // It mostly goes along with the high watermark.
        let apart = self.last_stable != self.high_watermark || now.last_stable != now.high_watermark;
        if self.last_stable != now.last_stable && apart {
            changes.push(format!("last stable {} -> {}", self.last_stable, now.last_stable));
        }
        changes
    }
}

/// All that is known of a replica, and its log.
pub fn whole(replica: &Replica, log: &[AppendBatch]) -> Vec<String> {
    let view = replica.view();
    let bounds = format!(
        "log {}..{}, durable to {}, high watermark {}, last stable {}",
        view.log_start, view.log_end, view.durable_end, view.high_watermark, view.last_stable
    );
    let sets = format!("ISR {}, epochs {}", list(view.isr.iter()), epochs_in_words(&view.epochs));
    let log = log.iter().map(|batch| format!("holds {}", batch_in_words(batch)));
    [role((view.role, view.leader, view.leader_epoch)), bounds, sets].into_iter().chain(log).collect()
}

fn role((role, leader, epoch): (ViewRole, Option<BrokerId>, LeaderEpoch)) -> String {
    match (role, leader) {
        (ViewRole::Leader, _) => format!("leads epoch {epoch}"),
        (ViewRole::Follower, Some(leader)) => format!("follows {leader} in epoch {epoch}"),
        (ViewRole::Follower, None) => format!("follows nobody in epoch {epoch}"),
        (ViewRole::Idle, _) => format!("idle in epoch {epoch}"),
        (ViewRole::Offline, _) => "offline".to_owned(),
        (ViewRole::Retired, _) => "retired".to_owned(),
    }
}

fn batch_in_words(batch: &AppendBatch) -> String {
    let header = &batch.header;
    let place = format!("{} epoch {}", header.base_offset, header.partition_leader_epoch);
    let producer = match header.producer_id.0 {
        -1 => String::new(),
        id => format!(" of producer {id}/{}", header.producer_epoch),
    };
    match control(batch) {
        Some(ControlRecord::Commit { .. }) => format!("{place}: commit{producer}"),
        Some(ControlRecord::Abort { .. }) => format!("{place}: abort{producer}"),
        Some(other) => format!("{place}: {other:?}{producer}"),
        None => {
            let transaction = if header.is_transactional() { " in a transaction" } else { "" };
            format!("{place}: {}{producer}{transaction}", value(batch))
        }
    }
}

fn fetch(request: &FetchRequest) -> String {
    let last = request.last_fetched_epoch.map_or("none".to_owned(), |epoch| epoch.to_string());
    let pause = if request.after_pause { ", after a pause" } else { "" };
    format!("fetch from {} at {}, last epoch {last}{pause}", request.leader, request.offset)
}

fn append_error(why: &AppendError) -> String {
    format!("{:?} ({why})", ErrorCode::from(*why))
}

fn delete_error(why: &DeleteError) -> String {
    format!("{:?} ({why})", ErrorCode::from(*why))
}

fn epochs_in_words(epochs: &Epochs) -> String {
    list(epochs.entries().iter().map(|entry| format!("{} from {}", entry.epoch, entry.start)))
}

fn list(items: impl IntoIterator<Item: Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
