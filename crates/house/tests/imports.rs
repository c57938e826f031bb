//! The law of imports: a circle of files is no larger than three. A parent and its parts may know each other;
//! more than that is one file in disguise.

// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

use std::path::{Path, PathBuf};

use ottla_house::{Tree, circles, workspace};

/// The largest circle that is let be.
const CIRCLE_MAX: usize = 3;

#[test]
fn circles_of_imports_are_small() {
    let wrong: Vec<String> = roots().iter().flat_map(|root| too_large(root)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_is_looked_at() {
    let names: Vec<String> = roots().iter().map(|root| name(root)).collect();
    for expected in ["wire", "broker", "ottla", "client", "sim", "house", "bench"] {
        assert!(names.iter().any(|name| name == expected), "{expected} is not among {names:?}");
    }
}

/// A made-up crate breaks the law, so that the law is known to be able to fail.
#[test]
fn a_circle_through_a_re_export_is_found_and_told() {
    let files = [
        ("lib.rs", "mod api; mod metrics; mod context; mod service;"),
        ("api/mod.rs", "mod call; mod table; pub use call::Call; pub use table::SERVED;"),
        ("api/call.rs", "use crate::context::Context; pub struct Call(Context);"),
        ("api/table.rs", "use super::Call; pub const SERVED: &[Call] = &[];"),
        ("metrics.rs", "fn count() { crate::api::SERVED.len(); }"),
        ("context.rs", "pub struct Context(crate::metrics::Metrics);"),
        ("service.rs", "use crate::api::{self, Call};"),
    ];
    let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
    let found = circles(&Tree::read("lib.rs", read).unwrap());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].files, ["api/call.rs", "api/table.rs", "context.rs", "metrics.rs"]);
    let told = found[0].to_string();
    assert!(told.contains("metrics.rs:1 -> api/table.rs (crate::api::SERVED)"), "{told}");
}

/// The circles of a crate that break the law, in words.
fn too_large(root: &Path) -> Vec<String> {
    let folder = root.parent().unwrap();
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).ok();
    let tree = Tree::read(root.file_name().unwrap().to_str().unwrap(), read);
    let circles = circles(&tree.unwrap_or_else(|error| panic!("{}: {error}", root.display())));
    let large = circles.into_iter().filter(|circle| circle.files.len() > CIRCLE_MAX);
    large.map(|circle| format!("{}: a circle of {circle}", name(root))).collect()
}

/// The roots of all crates of the workspace.
fn roots() -> Vec<PathBuf> {
    let workspace = workspace::root();
    let mut crates = vec![workspace.join("bench")];
    for folder in ["crates", "examples"] {
        let entries = std::fs::read_dir(workspace.join(folder)).unwrap();
        crates.extend(entries.map(|entry| entry.unwrap().path()));
    }
    crates.sort();
    let roots = crates.iter().flat_map(|one| ["src/lib.rs", "src/main.rs"].map(|root| one.join(root)));
    roots.filter(|root| root.is_file()).collect()
}

/// The crate's folder; with `main` behind it where a library has the same folder.
fn name(root: &Path) -> String {
    let folder = root.ancestors().nth(2).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    match root.ends_with("src/main.rs") && folder.join("src/lib.rs").is_file() {
        true => format!("{name} (main)"),
        false => name,
    }
}
