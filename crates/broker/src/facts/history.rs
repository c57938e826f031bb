//! Why a group has rebalanced.

use std::time::Duration;

use ottla_group::Caller;
use ottla_group::history::{Cause, Outcome, Phase, PhaseReport, Rebalance, Who};
use ottla_group::request::History;
use ottla_http::groups::{GroupHistory, HistoryError, MemberFacts, PhaseFacts, RebalanceFacts, SlowestFacts};
use ottla_wire::InternalTopic;

use crate::context::Context;

/// The remembered rebalances of a group, the newest last. Empty for an unknown group.
pub async fn history(ctx: &Context, group: &str) -> Result<GroupHistory, HistoryError> {
    // If the topic does not exist, there is no group. A lookup must not create it.
    let Some(partition) = ctx.coordinators.known_partition_for(InternalTopic::Offsets, group) else {
        return Ok(told(group, &[]));
    };
    let groups = ctx.coordinators.groups();
    match groups.ask_at(partition, Caller::default(), History::from(group), None).await {
        Ok(rebalances) => Ok(told(group, &rebalances)),
        Err(code) => Err(HistoryError::Coordinator(code)),
    }
}

fn told(group: &str, rebalances: &[Rebalance]) -> GroupHistory {
    GroupHistory { group: group.to_owned(), rebalances: rebalances.iter().map(rebalance).collect() }
}

fn rebalance(of: &Rebalance) -> RebalanceFacts {
    RebalanceFacts {
        cause: cause(of.cause),
        by: of.by.as_ref().map(who),
        reason: of.reason.as_ref().map(ToString::to_string),
        begun_ms: of.begun.0,
        outcome: outcome(of.outcome),
        generation_before: of.generation_before,
        generation_after: of.generation_after,
        members_before: of.members_before,
        members_after: of.members_after,
        phases: of.phases.iter().map(phase).collect(),
    }
}

fn phase(of: &PhaseReport) -> PhaseFacts {
    let slowest =
        |(slowest, after): &(Who, Duration)| SlowestFacts { member: who(slowest), after_ms: millis(*after) };
    PhaseFacts {
        phase: match of.phase {
            Phase::Join => "join",
            Phase::Sync => "sync",
            Phase::Assign => "assign",
            Phase::Reconcile => "reconcile",
        },
        took_ms: of.took.map(millis),
        slowest: of.slowest.as_ref().map(slowest),
        absent: of.absent.iter().map(who).collect(),
        absent_count: of.absent_len,
    }
}

fn who(of: &Who) -> MemberFacts {
    MemberFacts {
        member_id: of.member.clone(),
        instance_id: of.instance.clone(),
        client_id: of.client_id.clone(),
        client_host: of.client_host.clone(),
    }
}

fn millis(of: Duration) -> u64 {
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
        let told = told("g", &[rebalance]);
        let one = &told.rebalances[0];
        let by = one.by.as_ref().map(|by| by.member_id.as_str());
        assert_eq!((told.group.as_str(), one.cause, by), ("g", "session_expired", Some("m-1")));
        assert_eq!(one.reason.as_deref(), Some("it \"hung\""));
        assert_eq!(one.phases[0].slowest.as_ref().map(|slowest| slowest.after_ms), Some(20));
        assert_eq!(one.phases[0].absent_count, 0);
    }
}
