//! The files in a log's folder, by what they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ottla_wire::Offset;

use crate::names::{DELETED, FileKind, file_name, parse_file_name};
use crate::segment::LogFolder;

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub segments: BTreeMap<Offset, BTreeSet<FileKind>>,
    pub snapshots: BTreeSet<Offset>,
    /// Files that belong to nothing any more.
    pub leftovers: Vec<String>,
    /// Segments that have indexes and no log.
    pub orphans: BTreeSet<Offset>,
    /// A file of a compaction that Kafka did not finish.
    pub unfinished: Option<String>,
}

pub(super) fn list(place: &LogFolder) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in place.disk.read_dir(&place.folder)? {
        match parse_file_name(&entry.name) {
            Some((offset, FileKind::Snapshot)) => {
                listing.snapshots.insert(offset);
            }
            Some((base, kind)) => {
                listing.segments.entry(base).or_default().insert(kind);
            }
            None if entry.name.ends_with(".swap") => listing.unfinished = Some(entry.name),
            None if [DELETED, ".cleaned", ".tmp"].iter().any(|end| entry.name.ends_with(end)) => {
                listing.leftovers.push(entry.name);
            }
            None => {} // checkpoints, and what a person has put there
        }
    }
    // Indexes without a log are what a deletion was about to remove.
    let (segments, orphans): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut listing.segments)
        .into_iter()
        .partition(|(_, kinds)| kinds.contains(&FileKind::Log));
    for (base, kinds) in orphans {
        listing.leftovers.extend(kinds.into_iter().map(|kind| file_name(base, kind)));
        listing.orphans.insert(base);
    }
    listing.segments = segments;
    Ok(listing)
}
