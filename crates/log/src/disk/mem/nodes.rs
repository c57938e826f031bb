//! What is on a simulated disk: files and directories as they are, as they were when they were synced last,
//! and the changes in between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

/// Everything on a disk. What was removed keeps its number: a file that is open may still be used.
#[derive(Debug)]
pub struct Nodes(Vec<Node>);

/// A file or a directory.
#[derive(Debug)]
pub enum Node {
    File { data: Vec<u8>, durable: Vec<u8>, unsynced: Vec<Change> },
    Dir { names: BTreeMap<String, usize>, durable: BTreeMap<String, usize>, unsynced: Vec<NameChange> },
}

/// A change of a file.
#[derive(Debug)]
pub enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// A change of a directory. `None` takes the name away.
#[derive(Debug)]
pub struct NameChange {
    names: Vec<(String, Option<usize>)>,
}

pub type FileParts<'a> = (&'a mut Vec<u8>, &'a mut Vec<u8>, &'a mut Vec<Change>);
pub type DirParts<'a> =
    (&'a mut BTreeMap<String, usize>, &'a mut BTreeMap<String, usize>, &'a mut Vec<NameChange>);

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes(vec![Node::new_dir()])
    }
}

impl Nodes {
    /// The directory that everything is in.
    pub const ROOT: usize = 0;

    /// Bytes of all files below a node.
    pub fn used(&self, node: usize) -> u64 {
        match &self.0[node] {
            Node::File { data, .. } => data.len() as u64,
            Node::Dir { names, .. } => names.values().map(|node| self.used(*node)).sum(),
        }
    }

    pub fn file(&mut self, node: usize) -> io::Result<FileParts<'_>> {
        match &mut self.0[node] {
            Node::File { data, durable, unsynced } => Ok((data, durable, unsynced)),
            Node::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub fn dir(&mut self, node: usize) -> io::Result<DirParts<'_>> {
        match &mut self.0[node] {
            Node::Dir { names, durable, unsynced } => Ok((names, durable, unsynced)),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub fn is_dir(&self, node: usize) -> bool {
        matches!(self.0[node], Node::Dir { .. })
    }

    pub fn find(&mut self, path: &Path) -> io::Result<usize> {
        let mut node = Nodes::ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_string_lossy();
                let (names, _, _) = self.dir(node)?;
                node = *names.get(&*name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    /// Parent directory and name.
    pub fn place(&mut self, path: &Path) -> io::Result<(usize, String)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok((self.find(parent)?, name.to_string_lossy().into_owned()))
    }

    /// Adds what has no name yet.
    pub fn add(&mut self, new: Node) -> usize {
        self.0.push(new);
        self.0.len() - 1
    }

    /// Gives and takes names in a directory.
    pub fn change(&mut self, dir: usize, names: Vec<(String, Option<usize>)>) -> io::Result<()> {
        let (now, _, unsynced) = self.dir(dir)?;
        let change = NameChange { names };
        change.apply(now);
        unsynced.push(change);
        Ok(())
    }

    /// Power loss: what was not synced is lost in part, as `random` decides.
    pub fn crash(&mut self, random: &mut dyn FnMut() -> u64) {
        for node in &mut self.0 {
            node.crash(random);
        }
    }
}

impl Change {
    /// Does the change, of a write only the first `torn` bytes.
    pub fn apply(&self, data: &mut Vec<u8>, torn: usize) {
        match self {
            Change::SetLen(len) => data.resize(*len, 0),
            Change::Write { position, bytes } => {
                let bytes = &bytes[..bytes.len().min(torn)];
                let end = position + bytes.len();
                if data.len() < end {
                    data.resize(end, 0);
                }
                data[*position..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Node {
    pub fn new_file() -> Node {
        Node::File { data: Vec::new(), durable: Vec::new(), unsynced: Vec::new() }
    }

    pub fn new_dir() -> Node {
        Node::Dir { names: BTreeMap::new(), durable: BTreeMap::new(), unsynced: Vec::new() }
    }

    fn crash(&mut self, random: &mut dyn FnMut() -> u64) {
        match self {
            Node::Dir { names, durable, unsynced } => {
                let kept = random() as usize % (unsynced.len() + 1);
                for change in unsynced.drain(..).take(kept) {
                    change.apply(durable);
                }
                names.clone_from(durable);
            }
            Node::File { data, durable, unsynced } => {
                let kept = random() as usize % (unsynced.len() + 1);
                for (i, change) in unsynced.drain(..).take(kept).enumerate() {
                    let whole = i + 1 < kept || random().is_multiple_of(2);
                    let torn = if whole { usize::MAX } else { random() as usize % 4096 };
                    change.apply(durable, torn);
                    if let Change::Write { position, bytes } = &change
                        && random().is_multiple_of(16)
                    {
                        let zeros = vec![0; random() as usize % (bytes.len().min(torn) + 1)];
                        Change::Write { position: *position, bytes: zeros }.apply(durable, usize::MAX);
                    }
                }
                data.clone_from(durable);
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        for (name, node) in &self.names {
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
    }
}
