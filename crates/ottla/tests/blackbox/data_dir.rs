//! A data directory that is somebody else's is refused, with the reason and what to do, and left as it was.

use crate::harness::{Setup, batch, create_topic, produced, read_all, values};

const DATA_DIRECTORY: i32 = 3;

#[track_caller]
fn refuses(setup: &Setup, says: &[&str]) {
    let (code, log) = setup.refused();
    assert_eq!(code, DATA_DIRECTORY, "{log}");
    for what in says {
        assert!(log.contains(what), "{what:?} is not in\n{log}");
    }
}

#[test]
fn in_use() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let data = setup.data.clone();
    let pid = broker.pid().to_string();
    let second = Setup::new().data(&data);
    refuses(&second, &[data.to_str().unwrap(), "is in use by process", &pid]);
    // The first one has not noticed.
    let mut wire = broker.connect();
    create_topic(&mut wire, "mine", 1, &[]);
    produced(&mut wire, "mine", 0, batch(["a"]));
    broker.kill();
    // A lock does not outlive its process.
    let broker = setup.start();
    assert_eq!(values(&read_all(&mut broker.connect(), "mine", 0)), ["a"]);
}

#[test]
fn of_another_node() {
    let mut setup = Setup::new().set("node.id", 7);
    assert_eq!(setup.start().stop().0, 0);
    let data = setup.data.clone();
    let other = Setup::new().data(&data).set("node.id", 8);
    refuses(
        &other,
        &["belongs to node 7, this is node 8", "--set node.id=7", "--data", data.to_str().unwrap()],
    );
    // Who does not say which node it is, is the one that the directory belongs to.
    let mut unsaid = Setup::new().data(&data);
    let (code, log) = unsaid.start().stop();
    assert_eq!(code, 0);
    assert!(log.contains("\"node_id\":7"), "{log}");
}

/// Logs without the metadata that names them, as Kafka's own data directory has them.
#[test]
fn of_another_program() {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "orders", 2, &[]);
    produced(&mut broker.connect(), "orders", 0, batch(["a"]));
    assert_eq!(broker.stop().0, 0);
    std::fs::remove_dir_all(setup.data.join("__cluster_metadata")).unwrap();
    let log = setup.data.join("orders-0/00000000000000000000.log");
    let before = std::fs::read(&log).unwrap();
    refuses(&setup, &["orders-", "choose another --data"]);
    assert_eq!(std::fs::read(&log).unwrap(), before, "nothing is taken away");
}

#[test]
fn without_its_identity_or_with_a_damaged_one() {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "orders", 1, &[]);
    assert_eq!(broker.stop().0, 0);
    let meta = setup.data.join("meta.properties");
    let text = std::fs::read_to_string(&meta).unwrap();
    std::fs::remove_file(&meta).unwrap();
    refuses(&setup, &["meta.properties", "restore the file"]);
    for damaged in ["", "\0\0\0\0", "version=2\nnode.id=1\n", &text.replace("node.id=1", "node.id=one")] {
        std::fs::write(&meta, damaged).unwrap();
        refuses(&setup, &["meta.properties", "restore the file"]);
    }
    std::fs::write(&meta, text).unwrap();
    assert_eq!(setup.start().stop().0, 0);
}

/// A metadata folder restored from the backup of another cluster.
#[test]
fn with_the_metadata_of_another_cluster() {
    let mut one = Setup::new();
    assert_eq!(one.start().stop().0, 0);
    let mut other = Setup::new();
    assert_eq!(other.start().stop().0, 0);
    let folder = |setup: &Setup| setup.data.join("__cluster_metadata");
    let kept = one.data.join("kept");
    std::fs::rename(folder(&one), &kept).unwrap();
    std::fs::rename(folder(&other), folder(&one)).unwrap();
    refuses(&one, &["belongs to cluster", "restore both from the same backup"]);
    std::fs::remove_dir_all(folder(&one)).unwrap();
    std::fs::rename(&kept, folder(&one)).unwrap();
    assert_eq!(one.start().stop().0, 0);
}
