//! Why a group has rebalanced: what `ottla group history` shows.

use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use serde::{Serialize, Serializer};

/// The rebalances that are remembered of a group, the newest last; none of a group that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupHistory {
    pub group: String,
    pub rebalances: Vec<RebalanceFacts>,
}

/// One rebalance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RebalanceFacts {
    pub cause: &'static str,
    /// Who gave cause for it, if anybody did.
    pub by: Option<MemberFacts>,
    pub reason: Option<String>,
    /// In milliseconds since 1970.
    pub begun_ms: i64,
    pub outcome: &'static str,
    pub generation_before: i32,
    pub generation_after: Option<i32>,
    pub members_before: usize,
    pub members_after: Option<usize>,
    pub phases: Vec<PhaseFacts>,
}

/// A phase of a rebalance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhaseFacts {
    pub phase: &'static str,
    /// None while it runs.
    pub took_ms: Option<u64>,
    pub slowest: Option<SlowestFacts>,
    /// Who was missed, the first of them.
    pub absent: Vec<MemberFacts>,
    pub absent_count: usize,
}

/// The member that a phase waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlowestFacts {
    pub member: MemberFacts,
    pub after_ms: u64,
}

/// A member of a group, as it is known to operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberFacts {
    #[serde(serialize_with = "as_str")]
    pub member_id: Str,
    #[serde(serialize_with = "as_option")]
    pub instance_id: Option<Str>,
    #[serde(serialize_with = "as_str")]
    pub client_id: Str,
    #[serde(serialize_with = "as_str")]
    pub client_host: Str,
}

fn as_str<S: Serializer>(of: &Str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(of.as_str())
}

fn as_option<S: Serializer>(of: &Option<Str>, to: S) -> Result<S::Ok, S::Error> {
    of.as_ref().map(Str::as_str).serialize(to)
}

/// Why a history cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error("the broker is starting")]
    Starting,
    #[error("{}: ask the broker that coordinates the group", .0.name())]
    Coordinator(ErrorCode),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_history_keeps_its_form() {
        let who = MemberFacts {
            member_id: "m-1".into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
        };
        let phase = PhaseFacts {
            phase: "join",
            took_ms: Some(30),
            slowest: Some(SlowestFacts { member: who.clone(), after_ms: 20 }),
            absent: Vec::new(),
            absent_count: 0,
        };
        let history = GroupHistory {
            group: "g".to_owned(),
            rebalances: vec![RebalanceFacts {
                cause: "session_expired",
                by: Some(who),
                reason: Some("it \"hung\"".to_owned()),
                begun_ms: 1000,
                outcome: "completed",
                generation_before: 1,
                generation_after: Some(2),
                members_before: 2,
                members_after: Some(1),
                phases: vec![phase],
            }],
        };
        let who = json!({
            "member_id": "m-1", "instance_id": null, "client_id": "c", "client_host": "/127.0.0.1",
        });
        let rebalance = json!({
            "cause": "session_expired", "by": who, "reason": "it \"hung\"", "begun_ms": 1000,
            "outcome": "completed", "generation_before": 1, "generation_after": 2,
            "members_before": 2, "members_after": 1,
            "phases": [{
                "phase": "join", "took_ms": 30, "slowest": { "member": who, "after_ms": 20 },
                "absent": [], "absent_count": 0,
            }],
        });
        let told = serde_json::to_value(&history).unwrap();
        assert_eq!(told, json!({ "group": "g", "rebalances": [rebalance] }));
    }
}
