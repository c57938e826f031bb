//! The law of tasks: a room of the broker starts its tasks and threads by `ottla-tasks`, which names them,
//! knows what their panic means, and ends them.

// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

use std::path::{Path, PathBuf};

use ottla_house::tokens::tokens;

/// The rooms that the law is for.
const ROOMS: &[&str] = &["broker", "http", "net", "tasks"];

/// The one place.
const HOME: &str = "tasks/src/lib.rs";

/// What starts a task or a thread, as it is written where it is called or imported.
const STARTS: &[&str] = &[
    "tokio::spawn",
    "tokio::{spawn",
    "task::spawn",
    "task::spawn_local",
    "thread::spawn",
    "thread::{spawn",
    "thread::Builder",
];

/// The source files of tests alone, which are modules behind `cfg(test)`.
const TESTS: &[&str] = &["tests.rs", "stage.rs"];

#[test]
fn tasks_are_started_in_one_place() {
    let mut wrong = Vec::new();
    for file in ROOMS.iter().flat_map(|room| sources(&crates().join(room).join("src"))) {
        let text = std::fs::read_to_string(&file).unwrap();
        let of_room = file.strip_prefix(crates()).unwrap();
        let found = starts(&text);
        if of_room == Path::new(HOME) {
            assert_eq!(found.len(), 1, "{HOME} starts tasks in one place");
        } else {
            wrong.extend(found.iter().map(|line| format!("{}:{line}", of_room.display())));
        }
    }
    assert!(wrong.is_empty(), "started without a name: use ottla_tasks::Tasks\n{}", wrong.join("\n"));
}

/// Made-up sources break the law, so that the law is known to be able to fail.
#[test]
fn a_bare_start_is_found_and_one_in_tests_or_comments_is_not() {
    let wrong = [
        "fn f() { tokio::spawn(g()); }",
        "fn f() { drop(tokio :: task :: spawn(g())); }",
        "use std::thread::{spawn, sleep};",
        "use std::thread; fn f() { thread::Builder::new(); }",
    ];
    for text in wrong {
        assert_eq!(starts(text), [1], "{text}");
    }
    let right = [
        "// tokio::spawn\nfn f() { tasks.part(\"tokio::spawn\", g()); }",
        "fn f() { tokio::task::spawn_blocking(g); set.spawn(h()); }",
        "#[cfg(test)]\nmod tests { fn f() { tokio::spawn(g()); } }",
    ];
    for text in right {
        assert!(starts(text).is_empty(), "{text}");
    }
}

/// The lines that start a task or a thread.
fn starts(text: &str) -> Vec<usize> {
    let all = tokens(text);
    let begins = |at: usize, start: &str| {
        let mut rest = start;
        for token in &all[at..] {
            match rest.strip_prefix(token.text) {
                Some("") => return true,
                Some(more) => rest = more,
                None => return false,
            }
        }
        false
    };
    let found = (0..all.len()).filter(|&at| STARTS.iter().any(|start| begins(at, start)));
    found.map(|at| all[at].line).collect()
}

/// Every Rust file of a folder that is not for tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if name.ends_with(".rs") && !TESTS.contains(&name) && !name.ends_with("_tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
