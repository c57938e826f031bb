//! A full disk: what was acknowledged stays, nothing else is promised, and with room again the broker goes
//! on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Setup, batch, create_topic, produced, read_all, try_produce, values};

/// A file system of its own, in memory, that is gone with this.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None`, with the reason on stdout, where this process may not mount.
    fn mount(at: &Path, bytes: usize) -> Option<Tmpfs> {
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

#[test]
fn a_full_disk_loses_nothing_and_is_left_again() {
    let setup = Setup::new();
    let disk = setup.dir.path().join("disk");
    let Some(mounted) = Tmpfs::mount(&disk, DISK_BYTES) else { return };
    let data = disk.join("data");
    let mut setup = setup.data(&data);
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();

    let mut broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "full", 1, &[]);
    let mut acked = 0;
    // Each about 100 KB: the disk is full after some hundred at the latest.
    let value = |number: i64| format!("{number}:{}", "x".repeat(100_000));
    let refusal = loop {
        match try_produce(&mut wire, "full", 0, batch([value(acked)])) {
            Ok(answer) if answer.error_code == 0 => {
                assert_eq!(answer.base_offset, acked);
                acked += 1;
            }
            Ok(answer) => break Some(answer.error_code),
            Err(_) => break None,
        }
        assert!(acked < 1000, "the disk is never full");
    };
    println!("{acked} records before the refusal {refusal:?}");
    assert!(acked > 10);
    // KAFKA_STORAGE_ERROR, or the connection of a broker whose only disk has failed.
    assert!(matches!(refusal, Some(56) | None), "{refusal:?}");
    drop(wire);
    // Its only data directory has failed: the broker says why and ends.
    let status = broker.await_exit();
    assert_eq!(status.code(), Some(1), "{}", broker.log());
    assert!(broker.log().contains("No space left on device"), "{}", broker.log());
    drop(broker);

    check_start_while_full(&mut setup, acked);

    std::fs::remove_file(&ballast).unwrap();
    let broker = setup.start();
    let mut wire = broker.connect();
    let read = read_all(&mut wire, "full", 0);
    // What was refused may not come back as a success, but it was never denied either: only what was acked is
    // certain.
    assert!(read.records.len() as i64 >= acked, "{} of {acked}", read.records.len());
    let expected = |(at, read): (usize, &String)| *read == value(at as i64);
    assert!(values(&read).iter().enumerate().all(expected));
    let next = read.records.len() as i64;
    assert_eq!(produced(&mut wire, "full", 0, batch(["room again"])), next);
    create_topic(&mut wire, "another", 1, &[]);
    let (code, log) = broker.stop();
    assert_eq!(code, 0, "{log}");
    let broker = setup.start();
    assert_eq!(read_all(&mut broker.connect(), "full", 0).records.len() as i64, next + 1);
    drop(broker);
    drop(mounted);
}

/// While the disk is full a start either serves what is there or refuses with a reason; it never loses or
/// hangs.
fn check_start_while_full(setup: &mut Setup, acked: i64) {
    let (code, log) = setup.start_or_refused(|broker| {
        let mut wire = broker.connect();
        let read = read_all(&mut wire, "full", 0);
        assert!(read.records.len() as i64 >= acked);
        // The reads may have outlived the disk; the broker is ended by whoever comes first.
        std::thread::sleep(Duration::from_millis(50));
    });
    println!("a start on the full disk: exit code {code:?}");
    if let Some(code) = code {
        assert!(matches!(code, 1 | 3), "{code}: {log}");
        assert!(log.contains("No space left on device"), "{log}");
    }
}
