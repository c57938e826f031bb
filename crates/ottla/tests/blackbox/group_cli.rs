//! Groups from the command line: members as processes, one of them killed, and what `ottla group` tells and
//! does.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Broker, Setup, batch, create_topic, eventually, latest, produced};

/// Sessions of these tests are short, so that the death of a member is soon noticed, and long enough for
/// members on a busy machine.
fn setup() -> Setup {
    Setup::new()
        .set("group.initial.rebalance.delay.ms", 0)
        .set("group.min.session.timeout.ms", 1000)
        .set("group.consumer.min.session.timeout.ms", 1000)
        .set("group.consumer.session.timeout.ms", 6000)
        .set("group.consumer.min.heartbeat.interval.ms", 100)
        .set("group.consumer.heartbeat.interval.ms", 300)
}

fn ottla(broker: &Broker, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    for name in ["OTTLA_BOOTSTRAP", "OTTLA_LOG_FORMAT", "OTTLA_LOG_LEVEL", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.args(arguments.split_whitespace()).arg("-b").arg(broker.addr.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that MUST succeed; what it prints.
#[track_caller]
fn done(broker: &Broker, arguments: &str) -> String {
    let output: Output = ottla(broker, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that MUST fail with this exit code; what it says.
#[track_caller]
fn refused(broker: &Broker, arguments: &str, code: i32) -> String {
    let output: Output = ottla(broker, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output.stdout));
    text(&output.stderr)
}

/// `ottla consume --group` as a process. Killed when dropped.
struct Member {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
    /// They end with the process.
    listeners: Vec<JoinHandle<()>>,
}

impl Member {
    fn start(broker: &Broker, arguments: &str) -> Member {
        let arguments =
            format!("consume orders --format {{partition}}:{{offset}}\\n --commit-interval 50 {arguments}");
        let mut child = ottla(broker, &arguments).spawn().unwrap();
        let (printed, prints) = collect(child.stdout.take().unwrap());
        let (said, says) = collect(child.stderr.take().unwrap());
        Member { child, printed, said, listeners: vec![prints, says] }
    }

    fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Ctrl-C; the exit code.
    fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.wait()
    }

    /// Waits until it has ended and all that it printed is heard.
    fn wait(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        self.listeners.drain(..).for_each(|listener| listener.join().unwrap());
        status.code()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _dead_already = self.child.kill();
        let _status = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = lines.clone();
    let listener = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    (lines, listener)
}

/// Makes the topic with so many partitions and records in each.
fn orders(broker: &Broker, partitions: i32, records: usize) {
    create_topic(&mut broker.connect(), "orders", partitions, &[]);
    if records > 0 {
        produce_to_each(broker, partitions, records);
    }
}

fn produce_to_each(broker: &Broker, partitions: i32, records: usize) {
    for partition in 0..partitions {
        let values = (0..records).map(|n| format!("order-{n}"));
        produced(&mut broker.connect(), "orders", partition, batch(values));
    }
}

/// Null of a group that does not exist yet.
#[track_caller]
fn described(broker: &Broker, group: &str) -> Value {
    let output = ottla(broker, &format!("group describe {group} --json")).output().unwrap();
    let stderr = text(&output.stderr);
    assert!(output.status.success() || stderr.contains("GROUP_ID_NOT_FOUND"), "{group}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn ids(described: &Value) -> BTreeSet<String> {
    let members = described["members"].as_array().unwrap();
    members.iter().map(|member| member["member"].as_str().unwrap().to_owned()).collect()
}

/// Committed offset of each partition, in order.
#[track_caller]
fn committed(broker: &Broker, group: &str) -> Vec<Option<i64>> {
    let described = described(broker, group);
    let offsets = described["offsets"].as_array().into_iter().flatten();
    offsets.map(|offset| offset["committed_offset"].as_i64()).collect()
}

fn history(broker: &Broker, group: &str, how: &str) -> String {
    done(broker, &format!("group history {group} --metrics {} {how}", broker.metrics))
}

#[test]
fn another_member_carries_on_when_one_is_killed_by_the_classic_protocol() {
    one_is_killed("--protocol classic --session-timeout 6");
}

#[test]
fn another_member_carries_on_when_one_is_killed_by_the_consumer_protocol() {
    one_is_killed("--protocol consumer");
}

#[track_caller]
fn one_is_killed(protocol: &str) {
    const PARTITIONS: i32 = 4;
    let mut setup = setup();
    let broker = setup.start();
    orders(&broker, PARTITIONS, 0);
    let arguments = format!("--group billing {protocol}");
    let mut first = Member::start(&broker, &arguments);
    eventually("the first member has all", || first.said().contains("this member has 4 partitions"));
    let mut second = Member::start(&broker, &arguments);
    let is_shared = || {
        let members = described(&broker, "billing")["members"].as_array().cloned().unwrap_or_default();
        members.len() == 2 && members.iter().all(|of| of["assignment"].as_array().unwrap().len() == 2)
    };
    eventually("both have their share", is_shared);
    eventually("the first has given up some", || first.said().contains("revoked: orders-"));
    eventually("the second has some", || second.said().contains("this member has 2 partitions"));

    produce_to_each(&broker, PARTITIONS, 10);
    eventually("both have committed what there is", || committed(&broker, "billing") == [Some(10); 4]);
    eventually("they have printed it", || (first.printed().len(), second.printed().len()) == (20, 20));

    let before = ids(&described(&broker, "billing"));
    first.kill();
    produce_to_each(&broker, PARTITIONS, 5);
    eventually("the other one has read the rest", || committed(&broker, "billing") == [Some(15); 4]);
    // History tells who it was.
    let after = ids(&described(&broker, "billing"));
    let dead: Vec<&String> = before.difference(&after).collect();
    let line = format!("\tsession_expired\t{}\t", dead[0]);
    let told = history(&broker, "billing", "");
    assert!(dead.len() == 1 && told.contains(&line), "{dead:?} in\n{told}");
    let story = history(&broker, "billing", "--color always");
    assert!(story.contains(&format!("{} (at 127.0.0.1) was not heard of", dead[0])), "{story}");

    // Who is asked to stop says so: nobody has to wait for its session to expire.
    assert_eq!(second.interrupt(), Some(0));
    let mut printed = [first.printed(), second.printed()].concat();
    assert_eq!(printed.len(), 60, "each record once");
    printed.sort();
    printed.dedup();
    assert_eq!(printed.len(), 60, "each record");
    let told: Value = serde_json::from_str(&history(&broker, "billing", "--json")).unwrap();
    let last = told["rebalances"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["cause"], &last["by"]["member_id"]),
        (&"left".into(), &Value::from(after.first().unwrap().as_str()))
    );
    assert!(described(&broker, "billing")["members"].as_array().unwrap().is_empty());
}

#[test]
fn what_was_not_printed_is_not_committed_and_counts_as_lag() {
    let mut setup = setup();
    let broker = setup.start();
    orders(&broker, 1, 10);
    let consume = "consume orders --group g --from-beginning --no-follow --format {offset},";
    assert_eq!(done(&broker, &format!("{consume} -n 4")), "0,1,2,3,");

    let described = described(&broker, "g");
    let row = &described["offsets"][0];
    assert_eq!(
        (&row["committed_offset"], &row["end_offset"], &row["lag"]),
        (&4.into(), &10.into(), &6.into())
    );
    let age = row["lag_ms"].as_i64().unwrap();
    assert!((0..600_000).contains(&age), "{age}");
    let plain = done(&broker, "group describe g --offsets");
    assert!(plain.starts_with("offset\tg\torders\t0\t4\t10\t6\t") && plain.lines().count() == 1, "{plain}");
    assert_eq!(done(&broker, "group list"), "g\tClassic\tconsumer\tEmpty\t0\n");
    assert_eq!(done(&broker, "group list --state stable"), "");

    // The rest, up to what was the end: a second member of the other kind of group goes on where the first
    // was.
    assert_eq!(done(&broker, &format!("{consume} --protocol consumer")), "4,5,6,7,8,9,");
    assert_eq!(committed(&broker, "g"), [Some(10)]);
    assert!(refused(&broker, "group describe nobody", 1).contains("GROUP_ID_NOT_FOUND"));
}

#[test]
fn offsets_are_reset_only_when_told_and_only_while_nobody_reads() {
    let mut setup = setup();
    let broker = setup.start();
    orders(&broker, 2, 10);
    let read = "consume orders --group g --from-beginning --no-follow --format {partition}:{offset},";
    assert_eq!(done(&broker, read).matches(',').count(), 20);
    assert_eq!(committed(&broker, "g"), [Some(10), Some(10)]);

    let reset = "group reset-offsets g --topic orders --to-earliest";
    let dry = ottla(&broker, reset).output().unwrap();
    assert_eq!(text(&dry.stdout), "orders\t0\t10\t0\t-10\norders\t1\t10\t0\t-10\n");
    assert!(dry.status.success() && text(&dry.stderr).contains("--execute"), "{dry:?}");
    assert_eq!(committed(&broker, "g"), [Some(10), Some(10)], "a dry run changes nothing");

    let mut member = Member::start(&broker, "--group g");
    eventually("it is a member", || {
        described(&broker, "g")["members"][0]["assignment"].as_array().is_some_and(|a| !a.is_empty())
    });
    let why = refused(&broker, &format!("{reset} --execute"), 1);
    assert!(why.contains("group g has a member") && why.contains("hint:"), "{why}");
    assert_eq!(committed(&broker, "g"), [Some(10), Some(10)]);
    assert_eq!(member.interrupt(), Some(0));

    let one = "group reset-offsets g --topic orders:1 --execute";
    assert_eq!(done(&broker, &format!("{one} --shift-by -3")), "orders\t1\t10\t7\t-3\n");
    assert_eq!(done(&broker, read), "1:7,1:8,1:9,");
    let clamped = ottla(&broker, &format!("{one} --to-offset 99")).output().unwrap();
    assert!(text(&clamped.stderr).contains("becomes 10"), "{clamped:?}");
    assert_eq!(done(&broker, &format!("{one} --by-duration 1d")), "orders\t1\t10\t0\t-10\n");
    assert_eq!(done(&broker, &format!("{one} --to-latest")), "orders\t1\t0\t10\t+10\n");
    assert_eq!(done(&broker, &format!("{one} --to-datetime 2020-01-01")), "orders\t1\t10\t0\t-10\n");
    let all = "group reset-offsets g --all-topics --execute";
    assert_eq!(done(&broker, &format!("{all} --to-current")), "orders\t0\t10\t10\t+0\norders\t1\t0\t0\t+0\n");
    assert_eq!(
        done(&broker, &format!("{all} --to-earliest")),
        "orders\t0\t10\t0\t-10\norders\t1\t0\t0\t+0\n"
    );
    assert_eq!(done(&broker, read).matches(',').count(), 20);

    // A group that does not exist yet is given a place to begin.
    assert_eq!(
        done(&broker, "group reset-offsets new --topic orders:0,1 --to-offset 8 --execute"),
        "orders\t0\t-\t8\t-\norders\t1\t-\t8\t-\n"
    );
    assert_eq!(
        done(&broker, "consume orders --group new --no-follow --format {partition}:{offset},"),
        "0:8,0:9,1:8,1:9,"
    );
    assert!(refused(&broker, "group reset-offsets g --topic other --to-latest", 1).contains("UNKNOWN_TOPIC"));
    assert!(
        refused(&broker, "group reset-offsets g --topic orders:7 --to-latest", 2).contains("no partition 7")
    );
}

#[test]
fn groups_are_deleted_once_nobody_reads() {
    let mut setup = setup();
    let broker = setup.start();
    orders(&broker, 2, 3);
    let mut member = Member::start(&broker, "--group g --from-beginning");
    eventually("it has read", || committed(&broker, "g") == [Some(3), Some(3)]);
    let why = refused(&broker, "group delete g", 1);
    assert!(why.contains("group g: NON_EMPTY_GROUP") && why.contains("hint:"), "{why}");
    let why = refused(&broker, "group delete-offsets g --topic orders", 1);
    assert!(why.contains("orders-0: group g: GROUP_SUBSCRIBED_TO_TOPIC"), "{why}");
    assert_eq!(member.interrupt(), Some(0));

    assert_eq!(done(&broker, "group delete-offsets g --topic orders:1"), "deleted the offset of orders-1\n");
    assert_eq!(committed(&broker, "g"), [Some(3)]);
    let why = refused(&broker, "group delete-offsets g --topic orders:1", 1);
    assert!(why.contains("committed nothing for partition 1 of topic orders"), "{why}");
    assert_eq!(done(&broker, "group delete g --json"), "{\"deleted\":true,\"group\":\"g\"}\n");
    assert_eq!(done(&broker, "group list"), "");
    assert!(refused(&broker, "group delete g", 1).contains("GROUP_ID_NOT_FOUND"));
    // The records are nobody's.
    assert_eq!(latest(&mut broker.connect(), "orders", 0), 3);
}

#[test]
fn what_an_interrupted_member_has_committed_was_printed() {
    let mut setup = setup();
    let broker = setup.start();
    orders(&broker, 1, 20_000);
    let mut member = Member::start(&broker, "--group g --from-beginning");
    eventually("it prints", || !member.printed().is_empty());
    assert_eq!(member.interrupt(), Some(0));
    let committed = committed(&broker, "g")[0].unwrap();
    let printed = i64::try_from(member.printed().len()).unwrap();
    assert!(committed <= printed, "{committed} committed, {printed} printed");
    let rest = done(&broker, "consume orders --group g --no-follow --format {offset}\\n");
    assert_eq!(rest.lines().next().map(str::to_owned), (committed < 20_000).then(|| committed.to_string()));
}
