//! The log says it: a coordinator that reads the log knows what the one knows that wrote it, except for what
//! groups are in the middle of.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_group::{GroupCoordinator, GroupRecord};

use super::promise::{Invariant, Scene};
use crate::invariants::Verdict;

#[derive(Default)]
pub struct TheLogSaysIt;

impl Invariant for TheLogSaysIt {
    fn name(&self) -> &'static str {
        "the log says it"
    }

    fn caught_up(&mut self, scene: &Scene<'_>) -> Verdict {
        let read = scene.host.load(scene.topics).map_err(|why| format!("the log cannot be read: {why}"))?;
        compare(scene.core, &read.core().inner)
    }
}

/// Whether one that has lived through it knows what one knows that has read it.
fn compare(lived: &GroupCoordinator, read: &GroupCoordinator) -> Verdict {
    let (lived_records, read_records) = (by_key(lived, lived), by_key(read, lived));
    for (key, record) in &lived_records {
        match read_records.get(key) {
            Some(found) if found == record => {}
            found => return Err(format!("lived {record:?}, read {found:?}")),
        }
    }
    if let Some((_, record)) = read_records.iter().find(|(key, _)| !lived_records.contains_key(*key)) {
        return Err(format!("read {record:?}, of which nobody knew"));
    }
    if !lived.offsets().pending().eq(read.offsets().pending()) {
        return Err("other offsets wait for the end of their transaction".to_owned());
    }
    Ok(())
}

/// What a coordinator knows of groups that are not in motion in `lived`.
fn by_key(core: &GroupCoordinator, lived: &GroupCoordinator) -> BTreeMap<Bytes, GroupRecord> {
    let in_motion = lived.records().in_motion;
    let records = core.records().records.into_iter();
    records
        .filter(|record| !in_motion.contains(record.group()))
        .map(|record| (record.encode().key, record))
        .collect()
}
