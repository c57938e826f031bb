//! The modules of a crate, and which file a path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::module::{Module, Path};
use crate::tokens::tokens;

/// All modules of a crate, from its root down.
pub struct Tree {
    modules: Vec<Node>,
}

struct Node {
    /// The file, as a path from the root's folder.
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    module: Module,
}

/// One file needs another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    pub from: String,
    pub to: String,
    /// Where in `from`, and the path that says so.
    pub line: usize,
    pub path: String,
}

/// Where a path leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(usize),
    /// Something that is at home in a module.
    Item(usize),
}

impl Tree {
    /// Reads a crate. `read` gives the source of a file below the root's folder; `None` if there is no such
    /// file.
    pub fn read(root: &str, mut read: impl FnMut(&str) -> Option<String>) -> io::Result<Tree> {
        let source = read(root).ok_or_else(|| not_there(root))?;
        let mut tree = Tree { modules: Vec::new() };
        tree.add(None, root.to_owned(), "", Module::parse(&tokens(&source)), &mut read)?;
        Ok(tree)
    }

    /// Adds a module and all below it. Its own modules have their files in `folder`.
    fn add(
        &mut self,
        parent: Option<usize>,
        file: String,
        folder: &str,
        mut module: Module,
        read: &mut impl FnMut(&str) -> Option<String>,
    ) -> io::Result<usize> {
        let (blocks, files) = (std::mem::take(&mut module.blocks), std::mem::take(&mut module.files));
        let id = self.modules.len();
        self.modules.push(Node { file: file.clone(), parent, children: BTreeMap::new(), module });
        for (name, block) in blocks {
            let child = self.add(Some(id), file.clone(), &format!("{folder}{name}/"), block, read)?;
            self.modules[id].children.insert(name, child);
        }
        for name in files {
            let places = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
            let found = places.iter().find_map(|place| Some((place.clone(), read(place)?)));
            let (place, source) = found.ok_or_else(|| not_there(&places[0]))?;
            let module = Module::parse(&tokens(&source));
            let child = self.add(Some(id), place, &format!("{folder}{name}/"), module, read)?;
            self.modules[id].children.insert(name, child);
        }
        Ok(id)
    }

    /// The files, in order of their names.
    pub fn files(&self) -> BTreeSet<&str> {
        self.modules.iter().map(|node| node.file.as_str()).collect()
    }

    /// Which files need which, each pair once.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: BTreeMap<(&str, &str), Arrow> = BTreeMap::new();
        for (id, node) in self.modules.iter().enumerate() {
            let imports = node.module.imports.iter().filter(|import| import.is_needed(&node.module));
            let imports = imports.map(|import| &import.path);
            for path in imports.chain(&node.module.paths) {
                let Some(target) = self.resolve(id, &path.words, &mut BTreeSet::new()) else { continue };
                let (Target::Module(to) | Target::Item(to)) = target;
                let (from, to) = (node.file.as_str(), self.modules[to].file.as_str());
                if from != to {
                    arrows.entry((from, to)).or_insert_with(|| arrow(from, to, path));
                }
            }
        }
        arrows.into_values().collect()
    }

    /// Where a path in a module leads to; `None` if that is out of the crate.
    fn resolve(&self, at: usize, words: &[String], seen: &mut Seen) -> Option<Target> {
        let (first, rest) = words.split_first()?;
        let node = &self.modules[at];
        match first.as_str() {
            "crate" => self.walk(0, rest, seen),
            "self" => self.walk(at, rest, seen),
            "super" => {
                let mut above = node.parent?;
                let mut rest = rest;
                while let Some(("super", behind)) =
                    rest.split_first().map(|(word, rest)| (word.as_str(), rest))
                {
                    (above, rest) = (self.modules[above].parent?, behind);
                }
                self.walk(above, rest, seen)
            }
            name => match node.children.get(name) {
                Some(child) => self.walk(*child, rest, seen),
                None => match self.imported(at, name, seen)? {
                    Target::Module(module) => self.walk(module, rest, seen),
                    item => Some(item),
                },
            },
        }
    }

    /// Follows a path down from a module.
    fn walk(&self, at: usize, words: &[String], seen: &mut Seen) -> Option<Target> {
        let Some((first, rest)) = words.split_first() else { return Some(Target::Module(at)) };
        let node = &self.modules[at];
        // A function may be named as the module that it is in: then the last word means the function.
        if rest.is_empty() && node.module.items.contains(first) {
            return Some(Target::Item(at));
        }
        if let Some(child) = node.children.get(first) {
            return self.walk(*child, rest, seen);
        }
        if node.module.items.contains(first) {
            return Some(Target::Item(at));
        }
        match self.imported(at, first, seen) {
            Some(Target::Module(module)) => self.walk(module, rest, seen),
            Some(item) => Some(item),
            // From another crate, or made by a macro.
            None => Some(Target::Item(at)),
        }
    }

    /// What a name means that a module imports; `None` if it does not, or from another crate.
    fn imported(&self, at: usize, name: &str, seen: &mut Seen) -> Option<Target> {
        if !seen.insert((at, name.to_owned())) {
            return None;
        }
        let imports = &self.modules[at].module.imports;
        if let Some(import) = imports.iter().find(|import| import.name.as_deref() == Some(name)) {
            return self.resolve(at, &import.path.words, seen);
        }
        imports.iter().filter(|import| import.name.is_none()).find_map(|glob| {
            let Target::Module(module) = self.resolve(at, &glob.path.words, seen)? else { return None };
            let node = &self.modules[module];
            match node.children.get(name) {
                Some(child) => Some(Target::Module(*child)),
                None if node.module.items.contains(name) => Some(Target::Item(module)),
                None => self.imported(module, name, seen),
            }
        })
    }
}

/// Names that are being looked up: an import that leads back to itself leads nowhere.
type Seen = BTreeSet<(usize, String)>;

fn arrow(from: &str, to: &str, path: &Path) -> Arrow {
    Arrow { from: from.to_owned(), to: to.to_owned(), line: path.line, path: path.words.join("::") }
}

fn not_there(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{file} is declared and not there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of a crate whose root is `lib.rs`, as `from>to`.
    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        let tree = Tree::read("lib.rs", |path| files.get(path).map(|text| (*text).to_owned())).unwrap();
        tree.arrows().iter().map(|arrow| format!("{}>{}", arrow.from, arrow.to)).collect()
    }

    #[test]
    fn a_name_leads_to_the_file_where_it_is_at_home() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a/mod.rs", "mod inner; pub use inner::Thing; pub use inner::deep::*; pub struct Own;"),
            ("a/inner.rs", "pub mod deep; pub struct Thing;"),
            ("a/inner/deep.rs", "pub fn dive() {}"),
            ("b.rs", "use crate::a::Thing;"),
            ("c.rs", "fn f() { crate::a::dive(); }"),
        ];
        assert_eq!(arrows(&files), ["b.rs>a/inner.rs", "c.rs>a/inner/deep.rs"]);
    }

    #[test]
    fn paths_are_followed_from_where_they_stand() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c { pub use crate::b as other; } use a::A; fn f() { b::h(); }"),
            ("a.rs", "mod child; pub struct A; use std::fmt; fn f() { fmt::Display; child::g(); }"),
            ("a/child.rs", "use super::A; use super::super::b; pub fn g() { b::h(); crate::c::other::h(); }"),
            ("b.rs", "pub fn h() { self::i(); } fn i() {} mod tests { use super::*; }"),
        ];
        let expected =
            ["a.rs>a/child.rs", "a/child.rs>a.rs", "a/child.rs>b.rs", "lib.rs>a.rs", "lib.rs>b.rs"];
        assert_eq!(arrows(&files), expected);
    }

    #[test]
    fn imports_that_lead_back_to_themselves_lead_nowhere() {
        let files = [("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::X;"), ("b.rs", "use crate::a::X;")];
        assert_eq!(arrows(&files), ["a.rs>b.rs", "b.rs>a.rs"]);
    }

    #[test]
    fn a_module_without_a_file_is_an_error() {
        assert!(Tree::read("lib.rs", |path| (path == "lib.rs").then(|| "mod gone;".to_owned())).is_err());
    }
}
