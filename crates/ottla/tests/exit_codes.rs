//! What the binary answers where no broker is needed: exit codes, and errors that name what is wrong.

// A helper of a test may fail the test; clippy only knows that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A command that should have refused to start and has not is stopped after this time.
const PATIENCE: Duration = Duration::from_secs(60);

fn ottla(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    for name in ["OTTLA_BOOTSTRAP", "OTTLA_LOG_FORMAT", "OTTLA_LOG_LEVEL", "NO_COLOR"] {
        command.env_remove(name);
    }
    let home = tempfile::tempdir().unwrap();
    command
        .args(arguments)
        .current_dir(&home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Asserts on the exit code, and that each of `says` is on stderr.
#[track_caller]
fn ends(arguments: &[&str], code: i32, says: &[&str]) {
    let output = ottla(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    for what in says {
        assert!(stderr.contains(what), "{arguments:?}: {what:?} is not in\n{stderr}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["start", "--help"], &["topic", "create", "--help"]] {
        let output = ottla(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let help = String::from_utf8(ottla(&["--help"]).stdout).unwrap();
    assert!(help.contains("Exit codes:") && help.contains("127.0.0.1:9092"), "{help}");
}

#[test]
fn a_wrong_command_line_is_2() {
    ends(&["strat"], 2, &["strat"]);
    ends(&["--set", "no-value"], 2, &["NAME=VALUE"]);
    ends(&["--listen", "9092"], 2, &["--listen", "HOST:PORT"]);
    ends(&["--log-level", "loud"], 2, &["--log-level"]);
    ends(&["topic", "create"], 2, &["NAME"]);
    ends(&["topic", "create", "x", "--partitions", "0"], 2, &["--partitions"]);
    ends(&["produce", "x", "--acks", "2"], 2, &["0, 1 or all"]);
    ends(&["produce", "x", "--compression", "rar"], 2, &["zstd"]);
    ends(&["consume", "x", "--offset", "1", "--from-beginning"], 2, &["cannot be used with"]);
    ends(&["consume", "x", "--from-time", "tomorrow"], 2, &["2026-01-31T12:00:00Z"]);
    ends(&["consume", "x", "--format", "{keys}"], 2, &["{headers}"]);
    ends(&["consume", "x", "-g", "g", "--offset", "1"], 2, &["--group"]);
    ends(&["group", "reset-offsets", "g", "--topic", "x"], 2, &["--to-earliest", "--shift-by"]);
    ends(&["group", "reset-offsets", "g", "--to-latest"], 2, &["--topic", "--all-topics"]);
    ends(&["group", "list", "--state", "happy"], 2, &["Stable"]);
    ends(&["topic", "list", "--bootstrap-server", "nowhere"], 2, &["--bootstrap-server", "host:port"]);
}

#[test]
fn a_wrong_setting_is_2_and_is_named_with_the_nearest() {
    ends(&["--set", "num.partitons=3"], 2, &["num.partitons", "did you mean num.partitions?"]);
    ends(&["start", "--set", "num.partitions=many"], 2, &["num.partitions", "many", "--set"]);
    ends(&["start", "--config", "/no/such/file"], 2, &["/no/such/file"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, "log.retention.hours=1\nmessage.max.byte=2\nnum.partitions=x\n").unwrap();
    let file = file.to_str().unwrap();
    ends(&["--config", file], 2, &["2 settings cannot be used", "message.max.bytes", "num.partitions", file]);
}

#[test]
fn no_broker_is_5_and_says_how_to_start_one() {
    // The other end of a connection: nobody listens there, and nobody else can.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let commands: [&[&str]; 7] = [
        &["topic", "list"],
        &["topic", "create", "x"],
        &["topic", "describe"],
        &["produce", "x"],
        &["consume", "x", "--from-beginning"],
        &["consume", "x", "--group", "g"],
        &["group", "list"],
    ];
    for command in commands {
        let arguments = [command, &["--bootstrap-server", &address]].concat();
        ends(&arguments, 5, &[&address, "ottla start"]);
    }
    ends(&["group", "history", "g", "--metrics", &address], 5, &[&address, "metrics.listener"]);
}

#[test]
fn an_address_that_is_taken_is_4_and_names_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    ends(
        &["--data", data, "--listen", "127.0.0.1:0", "--metrics", &address],
        4,
        &["metrics.listener", &address],
    );
    ends(&["--data", data, "--listen", &address, "--metrics", "off"], 4, &[&address]);
}

#[test]
fn a_data_directory_that_cannot_be_used_is_3() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "not a directory").unwrap();
    let data = file.to_str().unwrap();
    ends(&["--data", data, "--listen", "127.0.0.1:0", "--metrics", "off"], 3, &["data directory", data]);
}

/// A pipe gets JSON unless text is asked for.
#[test]
fn the_log_is_json_in_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let start = ["--data", file.to_str().unwrap(), "--listen", "127.0.0.1:0", "--metrics", "off"];
    ends(&start, 3, &["{\"timestamp\":\"", "\"level\":\"ERROR\"", "\"exit_code\":3"]);
    let json = ottla(&start);
    assert!(String::from_utf8(json.stderr).unwrap().lines().all(|line| line.starts_with('{')));
    let text = String::from_utf8(ottla(&[&start[..], &["--log-format", "text"]].concat()).stderr).unwrap();
    assert!(
        text.ends_with("\n") && text.contains("error: data directory") && !text.contains("{\"timestamp\""),
        "{text}"
    );
}
