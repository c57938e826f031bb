//! The files of Kafka's answers: what was asked, then `Kafka:` and its answer. Where Ottla differs on
//! purpose, `Ottla:` with its answer and `because:` with the reason follow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::play::Transcript;

#[derive(Default)]
struct Entry {
    kafka: String,
    ottla: Option<String>,
    because: Option<String>,
}

/// Holds the answers of a broker against the file of the script.
pub fn check(script: &str, transcript: &Transcript, is_kafka: bool) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/differential/golden/{script}.txt"));
    let known = read(&std::fs::read_to_string(&path).unwrap_or_default());
    if is_kafka && std::env::var_os("OTTLA_RECORD").is_some() {
        return std::fs::write(&path, written(transcript, &known)).unwrap();
    }
    let mut wrong = String::new();
    for (asked, answer) in transcript {
        let entry = known.get(asked);
        let expected =
            entry.map(|it| if is_kafka { &it.kafka } else { it.ottla.as_ref().unwrap_or(&it.kafka) });
        if expected != Some(answer) {
            let expected = expected.map_or("nothing", String::as_str);
            wrong += &format!("{asked}\n  expected: {expected}\n  answered: {answer}\n");
        }
    }
    for asked in known.keys().filter(|known| !transcript.iter().any(|(asked, _)| asked == *known)) {
        wrong += &format!("{asked}\n  was not asked\n");
    }
    assert!(wrong.is_empty(), "{script}:\n{wrong}");
}

fn read(text: &str) -> BTreeMap<String, Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut asked = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let entry = entries.entry(asked.clone()).or_default();
        if let Some(answer) = line.strip_prefix("  Kafka: ") {
            entry.kafka = answer.to_owned();
        } else if let Some(answer) = line.strip_prefix("  Ottla: ") {
            entry.ottla = Some(answer.to_owned());
        } else if let Some(reason) = line.strip_prefix("  because: ") {
            entry.because = Some(reason.to_owned());
        } else {
            asked = line.to_owned();
        }
    }
    entries.remove("");
    assert!(
        entries.values().all(|entry| entry.ottla.is_some() == entry.because.is_some()),
        "a difference has a reason"
    );
    entries
}

fn written(transcript: &Transcript, known: &BTreeMap<String, Entry>) -> String {
    let mut text = String::new();
    for (at, (asked, answer)) in transcript.iter().enumerate() {
        assert!(!transcript[..at].iter().any(|(before, _)| before == asked), "asked twice: {asked}");
        text += &format!("{asked}\n  Kafka: {answer}\n");
        if let Some(Entry { ottla: Some(ottla), because: Some(because), .. }) = known.get(asked) {
            text += &format!("  Ottla: {ottla}\n  because: {because}\n");
        }
    }
    text
}
