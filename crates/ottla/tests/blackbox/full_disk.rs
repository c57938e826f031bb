//! A full disk: appends are refused, everything else goes on, and with room again appends do, too. What was
//! acknowledged stays.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{
    Broker, Setup, Wire, batch, create_topic, delete_topic, eventually, produced, read_all, try_produce,
    values,
};

/// A file system of its own, in memory, that is gone with this.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None`, with the reason on stdout, where this process may not mount. CI may.
    fn mount(at: &Path, bytes: usize) -> Option<Tmpfs> {
        let mounted = Tmpfs::try_mount(at, bytes);
        assert!(mounted.is_some() || std::env::var_os("CI").is_none(), "CI tests this");
        mounted
    }

    fn try_mount(at: &Path, bytes: usize) -> Option<Tmpfs> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Tmpfs(at.to_owned())),
            Ok(output) => {
                println!("skipped: cannot mount a tmpfs: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: cannot run mount: {error}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

const DISK_BYTES: usize = 24 << 20;
const BALLAST_BYTES: usize = 12 << 20;
const NOT_ENOUGH_REPLICAS: i16 = 19;

/// About 100 KB: the disk is full after some hundred at the latest.
fn value(number: i64) -> String {
    format!("{number}:{}", "x".repeat(100_000))
}

/// Produces until it is refused; how many records are acknowledged then, `acked` of them before.
fn produce_until_refused(wire: &mut Wire, mut acked: i64) -> i64 {
    loop {
        let answer = try_produce(wire, "full", 0, batch([value(acked)])).unwrap();
        if answer.error_code != 0 {
            assert_eq!(answer.error_code, NOT_ENOUGH_REPLICAS, "{:?}", answer.error_message);
            assert!(answer.error_message.unwrap().contains("the disk of this broker is full"));
            return acked;
        }
        assert_eq!(answer.base_offset, acked);
        acked += 1;
        assert!(acked < 1000, "the disk is never full");
    }
}

fn check_records(wire: &mut Wire, count: i64) {
    let read = values(&read_all(wire, "full", 0));
    assert_eq!(read.len() as i64, count);
    assert!(read.iter().enumerate().all(|(at, read)| *read == value(at as i64)));
}

fn is_full(broker: &Broker) -> bool {
    let metrics = broker.http("/metrics");
    let line = metrics.lines().find(|line| line.starts_with("ottla_data_dir_full{"));
    line.is_some_and(|line| line.ends_with(" 1"))
}

/// Appends stop at the reserve. Whatever else needs a little room finds it there.
#[test]
fn appends_stop_before_the_disk_is_full_and_everything_else_goes_on() {
    let setup = Setup::new();
    let disk = setup.dir.path().join("disk");
    let Some(mounted) = Tmpfs::mount(&disk, DISK_BYTES) else { return };
    let mut setup = setup.data(disk.join("data"));
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();

    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "full", 1, &[]);
    create_topic(&mut wire, "large", 1, &[]);
    for _ in 0..20 {
        produced(&mut wire, "large", 0, batch(["y".repeat(100_000)]));
    }
    let mut acked = produce_until_refused(&mut wire, 0);
    println!("{acked} records before the refusal");
    assert!(acked > 10);
    eventually("the metrics say so", || is_full(&broker));
    assert!(broker.log().contains("the disk is full"), "{}", broker.log());
    assert!(broker.http("/readyz").starts_with("HTTP/1.1 200"), "reads are served");
    check_records(&mut wire, acked);
    create_topic(&mut wire, "another", 1, &[]);
    assert_eq!(delete_topic(&mut wire, "another"), 0);

    // Somebody makes room: it goes on by itself.
    std::fs::remove_file(&ballast).unwrap();
    eventually("appends go on", || {
        try_produce(&mut wire, "full", 0, batch([value(acked)])).unwrap().error_code == 0
    });
    acked += 1;
    assert!(!is_full(&broker));
    let acked = produce_until_refused(&mut wire, acked);
    // A restart on the full disk serves what is there.
    let (code, log) = broker.stop();
    assert_eq!(code, 0, "{log}");
    let broker = setup.start();
    let mut wire = broker.connect();
    check_records(&mut wire, acked);
    let refused = || try_produce(&mut broker.connect(), "full", 0, batch([value(acked)])).unwrap().error_code;
    eventually("it is still full", || refused() == NOT_ENOUGH_REPLICAS);
    drop((broker, mounted));
}

fn take_every_byte(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

/// Somebody else takes the last byte: a batch is half written, and that is as if it had never come.
#[test]
fn a_disk_without_a_byte_left_loses_nothing() {
    let setup = Setup::new();
    let disk = setup.dir.path().join("disk");
    let Some(mounted) = Tmpfs::mount(&disk, DISK_BYTES) else { return };
    let mut setup = setup.data(disk.join("data")).set("log.dir.reserve.bytes", 0);
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "full", 1, &[]);
    for acked in 0..10 {
        assert_eq!(produced(&mut wire, "full", 0, batch([value(acked)])), acked);
    }
    let ballast = disk.join("ballast");
    take_every_byte(&ballast);
    let acked = produce_until_refused(&mut wire, 10);
    check_records(&mut wire, acked);
    // A crash now finds a whole log.
    broker.kill();
    std::fs::remove_file(&ballast).unwrap();
    let mut broker = setup.start();
    let mut wire = broker.connect();
    check_records(&mut wire, acked);
    assert_eq!(produced(&mut wire, "full", 0, batch([value(acked)])), acked);

    // Once more, and without a crash.
    take_every_byte(&ballast);
    let acked = produce_until_refused(&mut wire, acked + 1);
    check_records(&mut wire, acked);
    std::fs::remove_file(&ballast).unwrap();
    eventually("appends go on", || {
        try_produce(&mut wire, "full", 0, batch([value(acked)])).unwrap().error_code == 0
    });
    check_records(&mut wire, acked + 1);
    assert!(broker.is_alive());
    let (code, log) = broker.stop();
    assert_eq!(code, 0, "{log}");
    drop(mounted);
}
