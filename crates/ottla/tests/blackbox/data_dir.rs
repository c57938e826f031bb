//! A data directory that is somebody else's is refused, with the reason and what to do, and left as it was.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::{Setup, batch, changes, create_topic, files, produced, read_all, tree, values};

const USAGE: i32 = 2;
const DATA_DIRECTORY: i32 = 3;
const ADDRESS: i32 = 4;

/// Nobody's user id.
const NOBODY: u32 = 65_534;

#[track_caller]
fn refuses_while_used(setup: &Setup, code: i32, says: &[&str]) {
    let (ended, log) = setup.refused();
    assert_eq!(ended, code, "{log}");
    for what in says {
        assert!(log.contains(what), "{what:?} is not in\n{log}");
    }
}

/// Refuses, and everything is as it was.
#[track_caller]
fn refuses_with(setup: &Setup, code: i32, says: &[&str]) {
    let around = setup.data.parent().unwrap();
    let before = tree(around);
    refuses_while_used(setup, code, says);
    assert_eq!(changes(&before, &tree(around)), Vec::<PathBuf>::new(), "changed by a refused start");
}

#[track_caller]
fn refuses(setup: &Setup, says: &[&str]) {
    refuses_with(setup, DATA_DIRECTORY, says);
}

/// A directory with a topic, cleanly stopped.
fn stopped() -> Setup {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "orders", 2, &[]);
    produced(&mut broker.connect(), "orders", 0, batch(["a"]));
    let (code, log) = broker.stop();
    assert_eq!(code, 0, "{log}");
    setup
}

#[test]
fn in_use() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let data = setup.data.clone();
    let pid = broker.pid().to_string();
    let second = Setup::new().data(&data);
    let says = [data.to_str().unwrap(), "is in use by process", &pid];
    refuses_while_used(&second, DATA_DIRECTORY, &says);
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

/// Logs without the metadata that names them.
#[test]
fn of_another_program() {
    let setup = stopped();
    std::fs::remove_dir_all(setup.data.join("__cluster_metadata")).unwrap();
    refuses(&setup, &["orders-", "choose another --data"]);
    // A program that is not ours has made no lock, and does not get one.
    std::fs::remove_file(setup.data.join(".lock")).unwrap();
    refuses(&setup, &["orders-", "choose another --data"]);
}

/// As Kafka 4.3 leaves its directory, with and without topics, and as it is before the first start.
#[test]
fn of_kafka() {
    let setup = Setup::new();
    let write = |name: &str, text: &str| {
        let path = setup.data.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("meta.properties", "version=1\nnode.id=1\ncluster.id=HO3bHZ7yTpWcB1XlmTEHiA\n");
    write("bootstrap.checkpoint", "");
    refuses(&setup, &["Apache Kafka", "bootstrap.checkpoint"]);
    write(".kafka_cleanshutdown", "{\"version\":0,\"brokerEpoch\":12}");
    write("__cluster_metadata-0/00000000000000000000.log", "records");
    refuses(&setup, &["Apache Kafka", "__cluster_metadata-0"]);
    write("recovery-point-offset-checkpoint", "0\n1\norders 0 0\n");
    write("orders-0/00000000000000000000.log", "");
    std::fs::remove_file(setup.data.join("bootstrap.checkpoint")).unwrap();
    refuses(&setup, &["Apache Kafka", "__cluster_metadata-0"]);
}

/// What is wrong with the settings, or with an address, is no reason to touch a directory, or to make one.
#[test]
fn settings_and_addresses() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for place in [stopped(), Setup::new()] {
        let data = &place.data;
        let setup = |name: &str, value: &str| Setup::new().data(data).set(name, value);
        refuses_with(&setup("num.partitions", "many"), USAGE, &["num.partitions"]);
        refuses_with(&setup("num.partitons", "1"), USAGE, &["num.partitions"]);
        refuses_with(&Setup::new().data(data).listen(&address.to_string()), ADDRESS, &["address"]);
        refuses_with(&Setup::new().data(data).metrics(address), ADDRESS, &["metrics.listener"]);
    }
}

/// Whoever may not write is told so before anything is written.
#[test]
fn not_writable() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root can start a broker as somebody else");
        return;
    }
    let setup = stopped().user(NOBODY);
    let all_may_read = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    all_may_read(setup.dir.path());
    refuses(&setup, &["cannot be written to", ".lock"]);
    std::fs::remove_file(setup.data.join(".lock")).unwrap();
    refuses(&setup, &["cannot be written to", "choose another --data"]);
    // A new one, where its parent belongs to somebody else.
    let data = setup.dir.path().join("a/b/c");
    let new = Setup::new().data(&data).user(NOBODY);
    let before = tree(setup.dir.path());
    refuses_while_used(&new, DATA_DIRECTORY, &["cannot be written to"]);
    assert_eq!(changes(&before, &tree(setup.dir.path())), Vec::<PathBuf>::new());
}

/// Each file of the metadata log, damaged in turn, beside a write that a crash has interrupted.
#[test]
fn with_a_damaged_metadata_log() {
    let setup = stopped();
    let folder = setup.data.join("__cluster_metadata");
    let journal = files(&folder, ".log").pop().unwrap();
    let whole = std::fs::read(&journal).unwrap();
    let torn = [&whole[..], &whole[whole.len() - 9..]].concat();
    std::fs::write(&journal, &torn).unwrap();
    for name in ["vote", "cluster"] {
        let path = folder.join(name);
        let good = std::fs::read(&path).unwrap();
        for bad in [&good[1..], &good[..good.len() / 2], &[], b"\0\0\0\0"] {
            std::fs::write(&path, bad).unwrap();
            refuses(&setup, &["is damaged", name]);
        }
        std::fs::write(&path, good).unwrap();
    }
    let snapshot = folder.join("00000000000000009999.snapshot");
    std::fs::write(&snapshot, b"not a snapshot").unwrap();
    refuses(&setup, &["is damaged", "9999.snapshot"]);
    std::fs::remove_file(&snapshot).unwrap();
    let mut rotten = whole.clone();
    rotten[whole.len() / 3] ^= 1;
    std::fs::write(&journal, &rotten).unwrap();
    refuses(&setup, &["is damaged", ".log"]);
    std::fs::write(&journal, &torn).unwrap();
    let mut setup = setup;
    assert_eq!(setup.start().stop().0, 0);
}

/// A path that is no directory, or cannot be one.
#[test]
fn that_cannot_be_a_directory() {
    let setup = Setup::new();
    let file = setup.dir.path().join("a-file");
    std::fs::write(&file, "not a directory").unwrap();
    let long = setup.dir.path().join("a".repeat(300)).join("data");
    for data in [file.clone(), file.join("data"), long] {
        let before = tree(setup.dir.path());
        refuses_while_used(&Setup::new().data(&data), DATA_DIRECTORY, &["data directory"]);
        assert_eq!(changes(&before, &tree(setup.dir.path())), Vec::<PathBuf>::new(), "{data:?}");
    }
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
