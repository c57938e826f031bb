//! The life of a topic: its folders go when it is deleted, and one of the same name is another topic.

use std::path::Path;

use ottla_wire::messages::MetadataRequest;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::{ErrorCode, Uuid};

use crate::harness::{
    Setup, batch, create_topic, create_topic_with, delete_topic, eventually, produced, read_all, try_produce,
    values,
};

fn folders(data: &Path, of: &str) -> Vec<String> {
    let entries = std::fs::read_dir(data).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with(of));
    names.sort();
    names
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_free() {
    let mut setup = Setup::new().set("auto.create.topics.enable", false);
    let broker = setup.start();
    let mut wire = broker.connect();
    let mut ids = Vec::new();
    for round in 0..5 {
        let value = format!("round {round}");
        ids.push(create_topic(&mut wire, "again", 3, &[("file.delete.delay.ms", "300")]));
        let taken = create_topic_with(&mut wire, "again", 3, &[]);
        assert_eq!(ErrorCode::from_code(taken.error_code), Some(ErrorCode::TopicAlreadyExists));
        for partition in 0..3 {
            assert_eq!(read_all(&mut wire, "again", partition).high_watermark, 0, "a new topic is empty");
            assert_eq!(produced(&mut wire, "again", partition, batch([&value])), 0);
            assert_eq!(values(&read_all(&mut wire, "again", partition)), [value.as_str()]);
        }
        assert_eq!(delete_topic(&mut wire, "again"), 0);
        let gone = try_produce(&mut wire, "again", 0, batch(["late"])).unwrap();
        assert_eq!(ErrorCode::from_code(gone.error_code), Some(ErrorCode::UnknownTopicOrPartition));
        let twice = ErrorCode::from_code(delete_topic(&mut wire, "again"));
        assert_eq!(twice, Some(ErrorCode::UnknownTopicOrPartition));
    }
    assert!(folders(&setup.data, "again").iter().all(|name| name.ends_with("-delete")));
    eventually("the folders are removed", || folders(&setup.data, "again").is_empty());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each has an id of its own");
}

/// A request by id need not say the name: it is null, or empty as the Java client leaves it.
#[test]
fn metadata_is_found_by_id() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let id = create_topic(&mut wire, "t", 2, &[]);
    for name in [None, Some("".into())] {
        let asked = [id, Uuid([7; 16])].map(|topic_id| MetadataRequestTopic { topic_id, name: name.clone() });
        let request = MetadataRequest { topics: Some(asked.into()), ..Default::default() };
        let told = wire.call(&request, 12).topics;
        assert_eq!((told[0].error_code, told[0].topic_id, told[0].name.as_deref()), (0, id, Some("t")));
        assert_eq!(told[0].partitions.len(), 2);
        assert_eq!(ErrorCode::from_code(told[1].error_code), Some(ErrorCode::UnknownTopicId));
        assert_eq!(told[1].topic_id, Uuid([7; 16]));
    }
}

/// A deletion that was acknowledged is finished by the next start, and never undone by it.
#[test]
fn a_deletion_survives_a_kill() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let old = create_topic(&mut wire, "again", 2, &[]);
    create_topic(&mut wire, "gone", 2, &[]);
    for topic in ["again", "gone"] {
        produced(&mut wire, topic, 0, batch(["old"]));
    }
    for topic in ["again", "gone"] {
        assert_eq!(delete_topic(&mut wire, topic), 0);
    }
    let new = create_topic(&mut wire, "again", 2, &[]);
    assert_ne!(old, new);
    produced(&mut wire, "again", 0, batch(["new"]));
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    assert_eq!(values(&read_all(&mut wire, "again", 0)), ["new"]);
    assert_eq!(delete_topic(&mut wire, "gone"), ErrorCode::UnknownTopicOrPartition.code());
    // Folders of a deletion that a kill has interrupted need not wait again.
    eventually("the folders are removed", || folders(&setup.data, "gone").is_empty());
    assert_eq!(folders(&setup.data, "again"), ["again-0", "again-1"]);
}
