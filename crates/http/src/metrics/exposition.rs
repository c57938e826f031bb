//! The text of `/metrics`: Prometheus' text format 0.0.4.

use std::fmt::{Display, Write};

use super::facts::{
    DirFacts, GroupFacts, Lag, LevelFacts, Metrics, NetFacts, NodeFacts, RequestFacts, RoomFacts, TopicFacts,
    TxnFacts,
};
use super::families::{self as f, Family};
use super::process::ProcessFacts;

/// Topics that get metrics of their own, the first by name; the others are added up. A scrape stays small
/// whatever clients create.
pub const TOPICS_ITEMIZED_MAX: usize = 500;

/// The label of the topics that are added up. No topic can have this name.
const OTHERS: &str = "(others)";

/// Writes it all down.
pub fn render(metrics: &Metrics, process: Option<ProcessFacts>) -> String {
    let mut text = Text(String::with_capacity(64 << 10));
    node(&mut text, &metrics.node);
    requests(&mut text, &metrics.requests);
    text.one(&f::PRODUCED_BYTES, metrics.requests.produced_bytes);
    text.one(&f::FETCHED_BYTES, metrics.requests.fetched_bytes);
    text.one(&f::BATCHES_REFUSED, metrics.requests.batches_refused);
    groups(&mut text, &metrics.groups, metrics.requests.offsets_committed);
    transactions(&mut text, &metrics.transactions);
    net(&mut text, &metrics.net);
    panics(&mut text, &metrics.panics);
    levels(&mut text, metrics.levels);
    topics(&mut text, &metrics.topics);
    dirs(&mut text, &metrics.dirs);
    text.one(&f::PROCESS_START, metrics.node.started_s);
    if let Some(facts) = process {
        process_facts(&mut text, facts);
    }
    text.0
}

fn node(text: &mut Text, node: &NodeFacts) {
    text.family(&f::BUILD_INFO);
    text.sample(&f::BUILD_INFO, "", &[("version", node.version)], 1);
    text.family(&f::NODE_INFO);
    let id = node.id.to_string();
    text.sample(&f::NODE_INFO, "", &[("node_id", &id), ("cluster_id", &node.cluster_id)], 1);
}

fn requests(text: &mut Text, requests: &RequestFacts) {
    text.family(&f::REQUEST_SECONDS);
    for api in &requests.apis {
        let name = api.name;
        let mut total = 0;
        let bounds = requests.bounds_s.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&api.buckets) {
            total += count;
            text.sample(&f::REQUEST_SECONDS, "_bucket", &[("api", name), ("le", &bound)], total);
        }
        text.sample(&f::REQUEST_SECONDS, "_sum", &[("api", name)], api.seconds);
        // Added up and not counted apart: the count must not differ from the last bucket.
        text.sample(&f::REQUEST_SECONDS, "_count", &[("api", name)], total);
    }
}

fn groups(text: &mut Text, groups: &GroupFacts, offsets_committed: u64) {
    let coordinators = &groups.coordinators;
    text.one(&f::COORDINATORS_LOADING, coordinators.loading);
    text.one(&f::COORDINATORS_ACTIVE, coordinators.active);
    text.one(&f::COORDINATOR_LOADS, coordinators.loads);
    text.one(&f::COORDINATOR_LOAD_SECONDS, coordinators.load_s);
    text.family(&f::GROUPS);
    for ((kind, state), count) in &groups.groups {
        text.sample(&f::GROUPS, "", &[("kind", kind), ("state", state)], count);
    }
    text.one(&f::GROUP_MEMBERS, groups.members);
    text.one(&f::GROUP_REBALANCES, groups.rebalances);
    text.one(&f::GROUP_OFFSETS, groups.offsets);
    text.one(&f::GROUP_STATE_BYTES, groups.state_bytes);
    text.one(&f::GROUP_OFFSET_COMMITS, offsets_committed);
    text.one(&f::GROUP_LAGS_ITEMIZED, groups.lags.len());
    text.family(&f::GROUP_LAG_RECORDS);
    for Lag { group, topic, partition, records } in &groups.lags {
        let partition = partition.to_string();
        let labels = [("group", group.as_str()), ("topic", topic.as_str()), ("partition", &partition)];
        text.sample(&f::GROUP_LAG_RECORDS, "", &labels, records);
    }
}

fn transactions(text: &mut Text, transactions: &TxnFacts) {
    text.family(&f::TRANSACTIONS);
    for (state, count) in &transactions.ids {
        text.sample(&f::TRANSACTIONS, "", &[("state", state)], count);
    }
    text.one(&f::TRANSACTION_OLDEST_SECONDS, transactions.oldest_s);
    text.one(&f::STABLE_OFFSET_HELD_SECONDS, transactions.held_s);
}

fn net(text: &mut Text, net: &NetFacts) {
    text.one(&f::CONNECTIONS_OPEN, net.connections_open);
    text.one(&f::CONNECTIONS_ACCEPTED, net.connections_accepted);
    text.family(&f::CONNECTIONS_CLOSED);
    for (reason, count) in &net.connections_closed {
        text.sample(&f::CONNECTIONS_CLOSED, "", &[("reason", reason)], count);
    }
    text.one(&f::CONNECTIONS_REFUSED_PER_IP, net.connections_refused_per_ip);
    text.one(&f::CONNECTIONS_REFUSED_DESCRIPTORS, net.connections_refused_descriptors);
    text.one(&f::ACCEPT_WAITS_CONNECTIONS, net.accept_waits_connections);
    text.one(&f::ACCEPT_WAITS_RATE, net.accept_waits_rate);
    text.one(&f::ACCEPT_ERRORS, net.accept_errors);
    text.one(&f::NET_REQUESTS, net.requests);
    text.one(&f::NET_RESPONSES, net.responses);
    text.one(&f::NET_RECEIVED_BYTES, net.bytes_in);
    text.one(&f::NET_SENT_BYTES, net.bytes_out);
    text.one(&f::NET_SENT_FILE_BYTES, net.file_bytes_out);
    text.one(&f::NET_READS, net.reads);
    text.one(&f::NET_WRITES, net.writes);
    text.one(&f::NET_COLD_READS, net.cold_reads);
    text.one(&f::NET_ADMISSION_WAITS, net.admission_waits);
    text.one(&f::NET_MUTES, net.mutes);
}

fn panics(text: &mut Text, panics: &[(&str, u64)]) {
    text.family(&f::TASK_PANICS);
    for (task, count) in panics {
        text.sample(&f::TASK_PANICS, "", &[("task", task)], count);
    }
}

fn levels(text: &mut Text, levels: LevelFacts) {
    text.one(&f::NET_ADMITTED_BYTES, levels.admitted_bytes);
    text.one(&f::FETCH_SESSIONS, levels.fetch_sessions);
    text.one(&f::METADATA_INDEX, levels.metadata_index);
}

fn topics(text: &mut Text, topics: &[TopicFacts]) {
    let itemized = topics.len().min(TOPICS_ITEMIZED_MAX);
    let (itemized, rest) = topics.split_at(itemized);
    let others = sum(OTHERS, rest);
    let all = itemized.iter().fold(others.clone(), |mut all, topic| {
        all.add(topic);
        all
    });
    text.one(&f::TOPICS, topics.len());
    text.one(&f::TOPICS_ITEMIZED, itemized.len());
    text.one(&f::PARTITIONS, all.partitions);
    text.one(&f::PARTITIONS_LEADING, all.leading);
    text.one(&f::PARTITIONS_UNDER_REPLICATED, all.under_replicated);
    text.one(&f::PARTITIONS_UNDER_MIN_ISR, all.under_min_isr);
    text.one(&f::PARTITIONS_UNCOMPACTED, all.uncompacted);
    text.one(&f::PARTITIONS_OFFLINE, all.offline);
    text.one(&f::LOG_BYTES, all.log_bytes);
    let lines: Vec<&TopicFacts> = itemized.iter().chain((!rest.is_empty()).then_some(&others)).collect();
    type Number = fn(&TopicFacts) -> u64;
    let numbers: [(&Family, Number); 3] = [
        (&f::TOPIC_PARTITIONS, |topic| topic.partitions),
        (&f::TOPIC_LOG_BYTES, |topic| topic.log_bytes),
        (&f::TOPIC_END_OFFSETS, |topic| topic.end_offsets),
    ];
    for (family, number) in numbers {
        text.family(family);
        for topic in &lines {
            text.sample(family, "", &[("topic", &topic.name)], number(topic));
        }
    }
}

fn sum(name: &'static str, topics: &[TopicFacts]) -> TopicFacts {
    let mut sum = TopicFacts { name: name.into(), ..TopicFacts::default() };
    for topic in topics {
        sum.add(topic);
    }
    sum
}

fn dirs(text: &mut Text, dirs: &[DirFacts]) {
    text.family(&f::DATA_DIR_ONLINE);
    for dir in dirs {
        text.sample(&f::DATA_DIR_ONLINE, "", &[("dir", &dir.path)], u8::from(dir.online));
    }
    let space = || dirs.iter().filter_map(|dir| Some((&dir.path, dir.space?)));
    type Number = fn(&RoomFacts) -> Option<u64>;
    let rooms: [(&Family, Number); 4] = [
        (&f::DATA_DIR_FULL, |room| Some(room.full.into())),
        (&f::DATA_DIR_LOW, |room| Some(room.low.into())),
        (&f::DATA_DIR_RESERVE_BYTES, |room| Some(room.reserve)),
        (&f::DATA_DIR_FULL_IN_SECONDS, |room| room.full_in_s),
    ];
    for (family, number) in rooms {
        text.family(family);
        for (path, value) in dirs.iter().filter_map(|dir| Some((&dir.path, number(dir.room.as_ref()?)?))) {
            text.sample(family, "", &[("dir", path)], value);
        }
    }
    text.family(&f::DATA_DIR_TOTAL_BYTES);
    for (path, (total, _)) in space() {
        text.sample(&f::DATA_DIR_TOTAL_BYTES, "", &[("dir", path)], total);
    }
    text.family(&f::DATA_DIR_USABLE_BYTES);
    for (path, (_, usable)) in space() {
        text.sample(&f::DATA_DIR_USABLE_BYTES, "", &[("dir", path)], usable);
    }
}

fn process_facts(text: &mut Text, process: ProcessFacts) {
    text.one(&f::PROCESS_CPU, process.cpu_s);
    text.one(&f::PROCESS_RESIDENT, process.resident_bytes);
    text.one(&f::PROCESS_VIRTUAL, process.virtual_bytes);
    text.one(&f::PROCESS_THREADS, process.threads);
    text.one(&f::PROCESS_OPEN_FDS, process.open_fds);
    text.one(&f::PROCESS_MAX_FDS, process.max_fds);
}

/// The text as it grows.
struct Text(String);

impl Text {
    /// What stands before the samples of a metric.
    fn family(&mut self, family: &Family) {
        let Family { name, kind, help } = family;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
    }

    fn sample(&mut self, family: &Family, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.line(format_args!("{}{suffix}", family.name));
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.line(format_args!("{before}{label}=\""));
            self.0.extend(value.chars().flat_map(escaped));
            self.0.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}\n"));
    }

    /// A metric without labels.
    fn one(&mut self, family: &Family, value: impl Display) {
        self.family(family);
        self.sample(family, "", &[], value);
    }

    fn line(&mut self, what: std::fmt::Arguments) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(what);
    }
}

/// A character of a label's value.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        '\\' => ('\\', Some('\\')),
        '"' => ('\\', Some('"')),
        '\n' => ('\\', Some('n')),
        c => (c, None),
    };
    [first].into_iter().chain(second)
}

#[cfg(test)]
mod tests {
    use super::super::facts::{ApiFacts, CoordinatorFacts};
    use super::*;

    /// As the connection layer counts them.
    const REASONS: [&str; 11] = [
        "eof",
        "idle",
        "stalled",
        "slow_request",
        "request_too_large",
        "negative_length",
        "response_too_large",
        "responded",
        "refused",
        "shutdown",
        "io",
    ];

    fn topic(name: &str, partitions: u64, log_bytes: u64, end_offsets: u64) -> TopicFacts {
        let name = ottla_wire::primitives::Str::from(name);
        TopicFacts { name, partitions, leading: partitions, log_bytes, end_offsets, ..TopicFacts::default() }
    }

    /// Everything but the requests, whose list grows with the broker.
    #[test]
    fn text_is_as_it_was() {
        let metrics = Metrics {
            node: NodeFacts {
                id: 1,
                cluster_id: "p0XxMz0jTbuHn3nqvRuB6w".into(),
                version: "0.1.0",
                started_s: 1_700_000_000.25,
            },
            requests: RequestFacts { produced_bytes: 1000, ..RequestFacts::default() },
            net: NetFacts {
                connections_open: 2,
                connections_closed: REASONS.iter().map(|reason| (*reason, 0)).collect(),
                ..NetFacts::default()
            },
            panics: vec![("load of a coordinator", 2)],
            topics: vec![topic("a", 1, 100, 10), topic("b", 2, 50, 5)],
            dirs: vec![
                DirFacts {
                    path: "/data/\"1\"".to_owned(),
                    online: true,
                    space: Some((2000, 1000)),
                    room: Some(RoomFacts { full: false, low: true, reserve: 100, full_in_s: Some(60) }),
                },
                DirFacts { path: "/data/2".to_owned(), online: false, space: None, room: None },
            ],
            groups: GroupFacts {
                groups: [(("consumer".into(), "Stable".into()), 2)].into(),
                members: 3,
                rebalances: 4,
                offsets: 1,
                state_bytes: 4000,
                lags: vec![Lag { group: "g".into(), topic: "a".into(), partition: 0, records: 7 }],
                coordinators: CoordinatorFacts { loading: 0, active: 50, loads: 50, load_s: 0.5 },
            },
            transactions: TxnFacts { ids: [("Ongoing".into(), 1)].into(), oldest_s: 1.5, held_s: 0.25 },
            levels: LevelFacts { admitted_bytes: 4096, fetch_sessions: 3, metadata_index: 17 },
        };
        let process = ProcessFacts {
            resident_bytes: 12_345_678,
            virtual_bytes: 100_000_000,
            cpu_s: 0.5,
            threads: 4,
            open_fds: 12,
            max_fds: 1024,
        };
        let text = render(&metrics, Some(process));
        let lines = text.lines().filter(|line| !line.starts_with(f::REQUEST_SECONDS.name));
        let rest: String = lines.flat_map(|line| [line, "\n"]).collect();
        assert_eq!(rest, include_str!("golden_metrics.txt"), "{rest}");
    }

    #[test]
    fn latencies_are_cumulative_and_end_at_the_count() {
        let api = ApiFacts { name: "ApiVersions", buckets: vec![0, 1, 0, 0, 1, 0, 1], seconds: 7.0022 };
        let bounds_s = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 5.0];
        let facts = RequestFacts { bounds_s, apis: vec![api], ..RequestFacts::default() };
        let mut text = Text(String::new());
        requests(&mut text, &facts);
        let of_api: Vec<&str> = text.0.lines().filter(|line| line.contains("\"ApiVersions\"")).collect();
        let expected = [
            "_bucket{api=\"ApiVersions\",le=\"0.0001\"} 0",
            "_bucket{api=\"ApiVersions\",le=\"0.00025\"} 1",
            "_bucket{api=\"ApiVersions\",le=\"0.0005\"} 1",
            "_bucket{api=\"ApiVersions\",le=\"0.001\"} 1",
            "_bucket{api=\"ApiVersions\",le=\"0.0025\"} 2",
            "_bucket{api=\"ApiVersions\",le=\"5\"} 2",
            "_bucket{api=\"ApiVersions\",le=\"+Inf\"} 3",
            "_sum{api=\"ApiVersions\"} 7.0022",
            "_count{api=\"ApiVersions\"} 3",
        ];
        assert_eq!(of_api, expected.map(|end| format!("ottla_request_seconds{end}")));
    }

    #[test]
    fn topics_beyond_the_limit_are_added_up() {
        let many: Vec<TopicFacts> =
            (0..TOPICS_ITEMIZED_MAX + 2).map(|i| topic(&format!("t{i:04}"), 1, 10, 1)).collect();
        let mut text = Text(String::new());
        topics(&mut text, &many);
        let has = |line: &str| text.0.lines().any(|other| other == line);
        assert!(has("ottla_topics 502") && has("ottla_topics_itemized 500") && has("ottla_partitions 502"));
        assert!(has("ottla_topic_log_bytes{topic=\"t0499\"} 10"));
        assert!(has("ottla_topic_log_bytes{topic=\"(others)\"} 20"));
        assert!(!text.0.contains("t0500"));
    }
}
