//! The law of settings: what is said to be served is read by somebody, and what is read is said to be served.
//!
//! It is held against the sources of the product. A setting is read where its constant is named
//! (`key::NUM_PARTITIONS`), and one of a topic where a field of `TopicConfig` is.

// Helpers of tests fail their test; the lint only knows functions that are marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use ottla_settings::key::{Declared, declared};
use ottla_settings::{Definition, Support, Table, broker_names, support, tables};

const TABLES: [Table; 4] = [Table::Broker, Table::Topic, Table::Group, Table::ClientMetrics];

/// Rooms that are no part of the product.
const PROOFS: [&str; 2] = ["sim", "fuzz-targets"];

/// Who looks at what is set to show it, to change it, or to warn of it.
const SHOWS: [&str; 3] = ["describe_configs.rs", "config_change.rs", "without_effect.rs"];

/// Where the settings of topics end up that are not called as their field.
const FIELDS: [(&str, &[&str]); 9] = [
    ("CLEANUP_POLICY", &["cleanup_compact", "cleanup_delete"]),
    ("COMPRESSION_GZIP_LEVEL", &["compression"]),
    ("COMPRESSION_LZ4_LEVEL", &["compression"]),
    ("COMPRESSION_TYPE", &["compression"]),
    ("COMPRESSION_ZSTD_LEVEL", &["compression"]),
    ("MESSAGE_TIMESTAMP_AFTER_MAX_MS", &["timestamp_after_max_ms"]),
    ("MESSAGE_TIMESTAMP_BEFORE_MAX_MS", &["timestamp_before_max_ms"]),
    ("MESSAGE_TIMESTAMP_TYPE", &["log_append_time"]),
    ("UNCLEAN_LEADER_ELECTION_ENABLE", &["unclean_leader_election"]),
];

#[test]
fn what_is_served_is_read() {
    let sources = Sources::of_the_product();
    for table in TABLES {
        for definition in served(table) {
            let declared = declared(table).iter().find(|one| one.definition.name == definition.name);
            let read = declared.is_some_and(|one| sources.read(table, one));
            let name = definition.name;
            assert!(
                read || stands_in_for_a_topic(table, name),
                "{table:?} {name} is served, and nobody reads it"
            );
        }
    }
}

#[test]
fn what_is_read_is_served() {
    for table in TABLES {
        for one in declared(table) {
            let name = one.definition.name;
            assert_eq!(support(table, name), Support::Served, "{table:?} {name}");
        }
    }
}

/// A broker's setting for all topics does what the topic's own does.
#[test]
fn defaults_of_topics_are_served_as_the_topics_own() {
    for topic in tables::topics() {
        for (broker, _) in broker_names(topic.name) {
            assert_eq!(support(Table::Broker, broker), support(Table::Topic, topic.name), "{broker}");
        }
    }
}

/// The constants are the one way to a value: what is set is only looked up by name to be shown.
#[test]
fn nobody_reads_past_the_constants() {
    for (path, text) in &Sources::of_the_product().others {
        for way in [".set_value(\"", ".config_value("] {
            let shows = SHOWS.iter().any(|file| path.ends_with(file));
            assert!(shows || !text.contains(way), "{} reads with {way}", path.display());
        }
    }
}

/// The law can be broken, by one in each way.
#[test]
fn a_setting_that_nobody_reads_is_found() {
    let of = |name: &str| *declared(Table::Broker).iter().find(|one| one.definition.name == name).unwrap();
    let text = "//! key::NUM_PARTITIONS\n\
        let a = 1; // key::NUM_PARTITIONS\n\
        settings.read(key::NUM_PARTITIONS_MAX);\n\
        settings.read(key::MAX_CONNECTIONS);\n\
        #[cfg(test)]\nmod tests {\n    settings.read(key::NUM_PARTITIONS);\n}\n";
    let sources = Sources::new(vec![(PathBuf::from("broker/src/a.rs"), text.to_owned())]);
    assert!(sources.read(Table::Broker, &of("max.connections")));
    assert!(!sources.read(Table::Broker, &of("num.partitions")), "named in comments and tests only");
    assert!(!sources.read(Table::Broker, &of("max.connections.per.ip")), "another that begins alike");

    let topic = |name: &str| *declared(Table::Topic).iter().find(|one| one.definition.name == name).unwrap();
    let own = "cleanup_compact: values.read(key::topic::CLEANUP_POLICY), segment_ms: values.read(key::topic::SEGMENT_MS)";
    let user = "config.segment_ms_of_all + config.cleanup_compact";
    let sources = Sources::new(vec![
        (PathBuf::from("settings/src/topic.rs"), own.to_owned()),
        (PathBuf::from("broker/src/a.rs"), user.to_owned()),
    ]);
    assert!(
        !sources.read(Table::Topic, &topic("segment.ms")),
        "in the configuration, and nobody looks there"
    );
    assert!(!sources.read(Table::Topic, &topic("cleanup.policy")), "one half of it");
    assert!(!sources.read(Table::Topic, &topic("retention.ms")), "not even in the configuration");
}

fn served(table: Table) -> impl Iterator<Item = &'static Definition> {
    table.definitions().iter().filter(move |definition| support(table, definition.name) == Support::Served)
}

/// It is read with the topic's own, as the layer below.
fn stands_in_for_a_topic(table: Table, name: &str) -> bool {
    let stands_in = |topic: &Definition| broker_names(topic.name).iter().any(|(broker, _)| *broker == name);
    table == Table::Broker && served(Table::Topic).any(stands_in)
}

/// What the product is made of, without comments and tests. Paths begin with the room.
struct Sources {
    settings: Vec<(PathBuf, String)>,
    others: Vec<(PathBuf, String)>,
}

impl Sources {
    fn of_the_product() -> Sources {
        let rooms = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = Vec::new();
        for room in fs::read_dir(rooms).unwrap() {
            let room = room.unwrap().path();
            if !PROOFS.iter().any(|proof| room.ends_with(proof)) {
                add_sources(&room.join("src"), &mut found);
            }
        }
        let within = |path: PathBuf| path.strip_prefix(rooms).unwrap().to_owned();
        let sources = Sources::new(found.into_iter().map(|(path, text)| (within(path), text)).collect());
        let found = (sources.settings.len(), sources.others.len());
        assert!(found.0 > 10 && found.1 > 300, "only {found:?} sources found");
        sources
    }

    fn new(files: Vec<(PathBuf, String)>) -> Sources {
        let files = files.into_iter().map(|(path, text)| (path, production(&text)));
        let (settings, others) = files.partition(|(path, _)| path.starts_with("settings"));
        Sources { settings, others }
    }

    fn read(&self, table: Table, one: &Declared) -> bool {
        let constant = one.constant;
        let named = |text: &str| match table {
            Table::Topic => has_word(text, &format!("key::topic::{constant}")),
            Table::Group => has_word(text, &format!("key::group::{constant}")),
            Table::Broker | Table::ClientMetrics => has_word(text, &format!("key::{constant}")),
        };
        let declares = |path: &Path| path.starts_with("settings/src/key");
        let all = self.settings.iter().chain(&self.others);
        let read = all.filter(|(path, _)| !declares(path)).any(|(_, text)| named(text));
        read && (table != Table::Topic || fields(constant).iter().all(|field| self.uses_field(field)))
    }

    fn uses_field(&self, field: &str) -> bool {
        self.others.iter().any(|(_, text)| has_word(text, &format!(".{field}")))
    }
}

fn fields(constant: &str) -> Vec<String> {
    match FIELDS.iter().find(|(one, _)| *one == constant) {
        Some((_, fields)) => fields.iter().map(ToString::to_string).collect(),
        None => vec![constant.to_lowercase()],
    }
}

fn add_sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            add_sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The text without comments, and without the tests at its end.
fn production(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let text: Vec<String> = text.lines().map(code).collect();
    let text = text.join("\n");
    match text.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => text[..tests].to_owned(),
        None => text,
    }
}

/// Whether `word` stands in `text` and does not go on.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.match_indices(word).any(|(at, _)| !goes_on(&text[at + word.len()..]))
}
