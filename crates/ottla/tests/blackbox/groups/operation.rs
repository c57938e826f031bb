//! What an operator of groups sees and sets: limits, metrics, histories, settings of single groups.

use ottla_wire::ErrorCode;
use ottla_wire::messages::*;

use super::{commit, committed, fetched, heartbeat, join, name_of, new_member, setup, sync};
use crate::harness::{Broker, Wire, batch, create_topic, eventually, produced};

/// Many groups, whose coordinators are many too, share one limit. What is there goes on, and what goes makes
/// room.
#[test]
fn groups_take_no_more_memory_than_they_may() {
    const MAX_BYTES: usize = 1 << 20;
    const NOTE_BYTES: usize = 4000;
    let mut setup = setup().set("group.coordinator.state.max.bytes", MAX_BYTES);
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 10, &[]);
    let member = new_member(&mut wire, "members");
    assert_eq!(wire.call(&join("members", &member), 9).error_code, 0);
    assert_eq!(wire.call(&sync("members", 1, &member, &[]), 5).error_code, 0);

    let note = |wire: &mut Wire, group: &str| {
        let offsets: Vec<(i32, i64)> = (0..10).map(|partition| (partition, 1)).collect();
        let mut request = commit(group, "t", &offsets);
        for partition in &mut request.topics[0].partitions {
            partition.committed_metadata = Some("n".repeat(NOTE_BYTES).into());
        }
        name_of(wire.call(&request, 9).topics[0].partitions[0].error_code)
    };
    let mut groups = Vec::new();
    let refused = loop {
        let group = format!("g{}", groups.len());
        match note(&mut wire, &group) {
            ErrorCode::None => groups.push(group),
            code => break code,
        }
        assert!(groups.len() * 10 * NOTE_BYTES < 2 * MAX_BYTES, "there is a limit");
    };
    assert_eq!(refused, ErrorCode::CoordinatorNotAvailable);
    assert!(groups.len() * 10 * NOTE_BYTES > MAX_BYTES / 2, "{} groups", groups.len());
    assert!(broker.metric("ottla_group_state_bytes") >= MAX_BYTES as f64);
    assert_eq!(name_of(wire.call(&join("other", ""), 9).error_code), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(heartbeat(&mut wire, "members", 1, &member), ErrorCode::None);
    committed(&mut wire, "g0", "t", &[(0, 7)]);
    let kept = fetched(&mut wire, &groups);
    assert!(kept.len() == groups.len() * 10 && kept[0] == ("g0".to_owned(), 0, 7));

    let half = groups.len() / 2;
    let names = groups[..half].iter().map(|group| group.as_str().into()).collect();
    let deleted = wire.call(&DeleteGroupsRequest { groups_names: names }, 2);
    assert!(deleted.results.iter().all(|result| result.error_code == 0));
    eventually("there is room", || note(&mut wire, "new") == ErrorCode::None);
    assert!(broker.metric("ottla_group_state_bytes") < MAX_BYTES as f64);
}

fn sample(broker: &Broker, line: &str) -> Option<String> {
    let text = broker.http("/metrics");
    text.lines().find_map(|other| other.strip_prefix(line)).map(|value| value.trim().to_owned())
}

#[test]
fn lags_and_histories_are_told() {
    let mut setup = setup();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    assert!(broker.http("/groups/g/history").ends_with("{\"group\":\"g\",\"rebalances\":[]}\n"));
    let a = new_member(&mut wire, "g");
    assert_eq!(wire.call(&join("g", &a), 9).error_code, 0);
    assert_eq!(wire.call(&sync("g", 1, &a, &[]), 5).error_code, 0);
    produced(&mut wire, "t", 0, batch(["a", "b", "c"]));
    committed(&mut wire, "readers", "t", &[(0, 1)]);
    let lag = "ottla_group_lag_records{group=\"readers\",topic=\"t\",partition=\"0\"}";
    assert_eq!(sample(&broker, lag).as_deref(), Some("2"));
    assert_eq!(broker.metric("ottla_group_members"), 1.0);
    assert_eq!(broker.metric("ottla_group_offset_commits_total"), 1.0);
    assert_eq!(sample(&broker, "ottla_groups{kind=\"classic\",state=\"Stable\"}").as_deref(), Some("1"));
    let history = broker.http("/groups/g/history");
    assert!(history.starts_with("HTTP/1.1 200") && history.contains("\"cause\":\"joined\""), "{history}");
}

/// A setting of one group holds for its members at once.
#[test]
fn a_group_can_have_settings_of_its_own() {
    let mut setup = setup();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "t", 1, &[]);
    let member = |epoch| ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        member_epoch: epoch,
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let joined = wire.call(&member(0), 1);
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 5000));
    let set = incremental_alter_configs_request::AlterableConfig {
        name: "consumer.heartbeat.interval.ms".into(),
        config_operation: 0,
        value: Some("7000".into()),
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource {
        resource_type: 32,
        resource_name: "g".into(),
        configs: vec![set],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    assert_eq!(wire.call(&request, 1).responses[0].error_code, 0);
    let heard = wire.call(&member(joined.member_epoch), 1);
    assert_eq!((heard.error_code, heard.heartbeat_interval_ms), (0, 7000));
}
