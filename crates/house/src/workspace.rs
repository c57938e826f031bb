//! The files of the workspace, for laws that hold for all of them.

use std::io;
use std::path::{Path, PathBuf};

/// The folder that everything is in.
pub fn root() -> PathBuf {
    let house = Path::new(env!("CARGO_MANIFEST_DIR"));
    house.ancestors().nth(2).unwrap_or(house).to_owned()
}

/// Every Rust file in these folders of the workspace and below, in order.
pub fn sources(folders: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
