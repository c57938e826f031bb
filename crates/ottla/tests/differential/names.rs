//! What topics may be called.

use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};

use crate::play::{Play, play};
use crate::requests::creatable;

/// What folders of partitions end in while they go, are set aside, move or are made anew.
const SUFFIXES: [&str; 6] = ["-delete", "-stray", "-future", ".cleaned", ".swap", ".deleted"];

#[test]
fn names() {
    play("names", |play| {
        for name in ["", ".", "..", "...", "-", "_", "a b", "a/b", "a\\b", "a:b", "a\0b", "é", "a\n"] {
            create(play, &format!("{name:?}"), name);
        }
        for length in [248, 249, 250] {
            create(play, &format!("{length} characters"), &"x".repeat(length));
        }
        for name in ["__cluster_metadata", "__consumer_offsets", "__share_group_state"] {
            create(play, name, name);
        }
        for name in ["__cluster_metadata2", "__CLUSTER_METADATA", "meta.properties", "x-0", "x-0.0123-delete"]
        {
            create(play, name, name);
        }
        for suffix in SUFFIXES {
            create(play, suffix, &format!("topic{suffix}"));
            create(
                play,
                &format!("folder{suffix}"),
                &format!("topic-0.0123456789abcdef0123456789abcdef{suffix}"),
            );
        }
        for name in ["a.b", "a_b", "a.b.c", "a_b.c", "a.b_c"] {
            create(play, name, name);
        }
        let both = CreateTopicsRequest {
            topics: vec![creatable("d.e", 1), creatable("d_e", 1), creatable("__cluster_metadata", 1)],
            timeout_ms: 10_000,
            validate_only: false,
        };
        play.call("two that collide, and what cannot be", &both);
        for name in ["__cluster_metadata", "", "a b", &"x".repeat(250)] {
            let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
            let request = MetadataRequest {
                topics: Some(vec![topic]),
                allow_auto_topic_creation: true,
                ..Default::default()
            };
            let shown: String = name.chars().take(20).collect();
            play.ask(&format!("metadata that would create {shown:?}"), &request, 12);
        }
        let gone = DeleteTopicsRequest {
            topic_names: vec!["__cluster_metadata".into(), "".into(), "a b".into()],
            timeout_ms: 10_000,
            ..Default::default()
        };
        play.call_version("delete what cannot be", &gone, 5);
    });
}

fn create(play: &mut Play, what: &str, name: &str) {
    let request =
        CreateTopicsRequest { topics: vec![creatable(name, 1)], timeout_ms: 10_000, validate_only: false };
    play.call(&format!("create {what}"), &request);
}
