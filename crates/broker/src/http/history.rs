//! Why a group has rebalanced, as JSON: what `ottla group history` shows.

use ottla_group::Caller;
use ottla_group::history::{Cause, Outcome, Phase, PhaseReport, Rebalance, Who};
use ottla_group::request::History;
use ottla_wire::InternalTopic;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use serde_json::{Value, json};

use crate::context::Context;

/// Why a history cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error("the broker is starting")]
    Starting,
    #[error("{}: ask the broker that coordinates the group", .0.name())]
    Coordinator(ErrorCode),
}

impl HistoryError {
    pub fn to_json(self) -> String {
        line(json!({ "error": self.to_string() }))
    }
}

/// The rebalances that are remembered of a group, the newest last; none of a group that is not known.
pub async fn history(ctx: &Context, group: &str) -> Result<String, HistoryError> {
    // Nobody may have needed the topic yet, and then there is no group: asking does not create it.
    let Some(partition) = ctx.coordinators.known_partition_for(InternalTopic::Offsets, group) else {
        return Ok(told(group, &[]));
    };
    let groups = ctx.coordinators.groups();
    match groups.ask_at(partition, Caller::default(), History::from(group), None).await {
        Ok(rebalances) => Ok(told(group, &rebalances)),
        Err(code) => Err(HistoryError::Coordinator(code)),
    }
}

fn told(group: &str, rebalances: &[Rebalance]) -> String {
    let rebalances: Vec<Value> = rebalances.iter().map(rebalance).collect();
    line(json!({ "group": group, "rebalances": rebalances }))
}

fn line(value: Value) -> String {
    format!("{value}\n")
}

fn rebalance(of: &Rebalance) -> Value {
    json!({
        "cause": cause(of.cause),
        "by": of.by.as_ref().map(who),
        "reason": of.reason.as_ref().map(Str::as_str),
        "begun_ms": of.begun.0,
        "outcome": outcome(of.outcome),
        "generation_before": of.generation_before,
        "generation_after": of.generation_after,
        "members_before": of.members_before,
        "members_after": of.members_after,
        "phases": of.phases.iter().map(phase).collect::<Vec<_>>(),
    })
}

fn phase(of: &PhaseReport) -> Value {
    let slowest = of
        .slowest
        .as_ref()
        .map(|(slowest, after)| json!({ "member": who(slowest), "after_ms": millis(*after) }));
    json!({
        "phase": match of.phase {
            Phase::Join => "join",
            Phase::Sync => "sync",
            Phase::Assign => "assign",
            Phase::Reconcile => "reconcile",
        },
        "took_ms": of.took.map(millis),
        "slowest": slowest,
        "absent": of.absent.iter().map(who).collect::<Vec<_>>(),
        "absent_count": of.absent_len,
    })
}

fn who(of: &Who) -> Value {
    json!({
        "member_id": of.member.as_str(),
        "instance_id": of.instance.as_ref().map(Str::as_str),
        "client_id": of.client_id.as_str(),
        "client_host": of.client_host.as_str(),
    })
}

fn millis(of: std::time::Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

fn outcome(of: Outcome) -> &'static str {
    match of {
        Outcome::Running => "running",
        Outcome::Completed => "completed",
        Outcome::Superseded => "superseded",
    }
}

fn cause(of: Cause) -> &'static str {
    match of {
        Cause::Joined => "joined",
        Cause::Left => "left",
        Cause::SessionExpired => "session_expired",
        Cause::RebalanceTimedOut => "rebalance_timed_out",
        Cause::TopicsChanged => "topics_changed",
        Cause::SubscriptionChanged => "subscription_changed",
        Cause::LeaderRejoined => "leader_rejoined",
        Cause::InstanceReplaced => "instance_replaced",
        Cause::Removed => "removed",
        Cause::TooLarge => "too_large",
        Cause::AssignmentFailed => "assignment_failed",
        Cause::ProtocolChanged => "protocol_changed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_wire::Timestamp;

    use super::*;

    #[test]
    fn a_rebalance_is_told_with_who_was_slow_and_who_was_missed() {
        let who = Who {
            member: "m-1".into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
        };
        let rebalance = Rebalance {
            cause: Cause::SessionExpired,
            by: Some(who.clone()),
            reason: Some("it \"hung\"".into()),
            begun: Timestamp(1000),
            outcome: Outcome::Completed,
            generation_before: 1,
            generation_after: Some(2),
            members_before: 2,
            members_after: Some(1),
            phases: vec![PhaseReport {
                phase: Phase::Join,
                took: Some(Duration::from_millis(30)),
                slowest: Some((who, Duration::from_millis(20))),
                absent: Vec::new(),
                absent_len: 0,
            }],
        };
        let told: Value = serde_json::from_str(&told("g", &[rebalance])).unwrap();
        assert_eq!(told["group"], "g");
        let told = &told["rebalances"][0];
        assert_eq!(
            (told["cause"].as_str(), told["by"]["member_id"].as_str()),
            (Some("session_expired"), Some("m-1"))
        );
        assert_eq!(told["reason"], "it \"hung\"");
        assert_eq!(told["phases"][0]["slowest"]["after_ms"], 20);
        assert_eq!(told["phases"][0]["absent_count"], 0);
    }
}
