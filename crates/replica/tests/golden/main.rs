//! Golden scripts of the replica: `tests/scripts/*.txt`, each a story of one partition.

mod batch;
mod cluster;
#[cfg(test)]
#[path = "../disk/mod.rs"]
mod disk;
mod node;
mod tell;

use cluster::Cluster;

#[test]
fn replicas_do_what_the_scripts_tell() -> Result<(), Told> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    ottla_scripts::play(folder, Cluster::new).map_err(Told)
}

/// A failure that is shown with its line breaks.
struct Told(String);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
