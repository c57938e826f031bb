//! A flush that fails: nothing that waited for it is acknowledged, and it is not tried again as if nothing
//! had happened.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Setup, batch, create_topic, produced, read_all, try_produce, values};

/// Stands before the C library's own: fails with EIO for files under a `-` folder while the trigger exists.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    const char *trigger = getenv("FAIL_FSYNC_TRIGGER");
    const char *of = getenv("FAIL_FSYNC_OF");
    char link[64], path[4096];
    if (trigger == NULL || access(trigger, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return of == NULL || strstr(path, of) != NULL;
}

#define STANDS_BEFORE(name)                                                   \
    int name(int fd) {                                                        \
        static int (*real)(int);                                              \
        if (fails(fd)) { errno = EIO; return -1; }                            \
        if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, #name);       \
        return real(fd);                                                      \
    }
STANDS_BEFORE(fsync)
STANDS_BEFORE(fdatasync)
"#;

/// Compiles the shim; `None`, with the reason on stdout, where that cannot be done.
fn shim(dir: &Path) -> Option<PathBuf> {
    let (source, library) = (dir.join("fail_fsync.c"), dir.join("fail_fsync.so"));
    std::fs::write(&source, SHIM).unwrap();
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").output();
    match compiled {
        Ok(output) if output.status.success() => Some(library),
        Ok(output) => panic!("the shim does not compile: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("skipped: cannot run cc: {error}");
            None
        }
    }
}

const KAFKA_STORAGE_ERROR: i16 = 56;

/// A setup whose flushes fail for files whose paths hold `of` once the trigger is there.
fn failing(of: &str) -> Option<(Setup, PathBuf)> {
    let setup = Setup::new();
    let library = shim(setup.dir.path())?;
    let trigger = setup.dir.path().join("fail-now");
    let setup = setup
        .environment("LD_PRELOAD", library.to_str().unwrap())
        .environment("FAIL_FSYNC_TRIGGER", trigger.to_str().unwrap())
        .environment("FAIL_FSYNC_OF", of);
    Some((setup, trigger))
}

#[test]
fn a_failed_flush_of_a_log_is_never_acknowledged() {
    let Some((mut setup, trigger)) = failing("/flushed-0/") else { return };
    let mut broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "flushed", 1, &[]);
    for number in 0..10 {
        assert_eq!(produced(&mut wire, "flushed", 0, batch([format!("{number}")])), number);
    }
    std::fs::write(&trigger, "").unwrap();
    match try_produce(&mut wire, "flushed", 0, batch(["never promised"])) {
        Ok(answer) => assert_eq!(answer.error_code, KAFKA_STORAGE_ERROR, "{answer:?}"),
        Err(_) => println!("the connection was closed with the broker"),
    }
    // The next flush would succeed, and says nothing about the pages that the failed one has lost.
    std::fs::remove_file(&trigger).unwrap();
    if let Ok(answer) = try_produce(&mut wire, "flushed", 0, batch(["nor this"])) {
        assert_eq!(answer.error_code, KAFKA_STORAGE_ERROR, "{answer:?}");
    }
    assert_eq!(broker.await_exit().code(), Some(1), "{}", broker.log());
    assert!(broker.log().contains("Input/output error"), "{}", broker.log());
    drop(broker);

    let broker = setup.start();
    let mut wire = broker.connect();
    let read = values(&read_all(&mut wire, "flushed", 0));
    let acked: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    assert!(read.starts_with(&acked), "{read:?}");
    produced(&mut wire, "flushed", 0, batch(["goes on"]));
}

#[test]
fn a_failed_flush_of_the_metadata_log_is_never_acknowledged() {
    let Some((mut setup, trigger)) = failing("/__cluster_metadata/") else { return };
    let mut broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "before", 1, &[]);
    std::fs::write(&trigger, "").unwrap();
    let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        crate::harness::create_topic_with(&mut wire, "after", 1, &[]).error_code
    }));
    if let Ok(code) = answered {
        assert_ne!(code, 0, "a topic whose record is not on the disk is not created");
    }
    assert_eq!(broker.await_exit().code(), Some(1), "{}", broker.log());
    drop(broker);
    std::fs::remove_file(&trigger).unwrap();
    let broker = setup.start();
    let mut wire = broker.connect();
    produced(&mut wire, "before", 0, batch(["still there"]));
}
