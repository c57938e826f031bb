//! What a folder holds, to the last byte.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A name with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    mode: u32,
    modified: (i64, i64),
    /// Of a file.
    bytes: Vec<u8>,
}

pub type Tree = BTreeMap<PathBuf, Found>;

/// Everything below a path, and the path itself; nothing if it does not exist.
pub fn tree(path: &Path) -> Tree {
    let mut found = Tree::new();
    add(path, &mut found);
    found
}

fn add(path: &Path, found: &mut Tree) {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
    let bytes = if metadata.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    found.insert(path.to_owned(), Found { mode: metadata.mode(), modified, bytes });
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            add(&entry.unwrap().path(), found);
        }
    }
}

/// The names that are not the same in both.
pub fn changes(before: &Tree, after: &Tree) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path));
    let mut changed: Vec<PathBuf> = all.cloned().collect();
    changed.sort();
    changed.dedup();
    changed
}
