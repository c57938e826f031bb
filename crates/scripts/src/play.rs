//! The scripts of a folder, compared or recorded.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Stage;
use crate::script::perform;

/// Set to 1, scripts are written anew.
const RECORD: &str = "OTTLA_RECORD";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Compare,
    Record,
}

/// Plays every script (`*.txt`) of a folder, each on a stage of its own; compares or records as the
/// environment says. The error names all that does not agree.
pub fn play<S: Stage>(folder: impl AsRef<Path>, set_up: impl Fn() -> S) -> Result<(), String> {
    let record = std::env::var(RECORD).is_ok_and(|value| value == "1");
    play_as(if record { Mode::Record } else { Mode::Compare }, folder, set_up)
}

/// As [`play`], whatever the environment says.
pub fn play_as<S: Stage>(mode: Mode, folder: impl AsRef<Path>, set_up: impl Fn() -> S) -> Result<(), String> {
    let mut failures = Vec::new();
    for path in scripts(folder.as_ref())? {
        let file = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|why| format!("{file}: {why}"))?;
        match perform(&file, &text, &mut set_up()) {
            Err(why) => failures.push(why),
            Ok(played) if mode == Mode::Compare => failures.extend(played.mismatches),
            Ok(played) if played.text == text => {}
            Ok(played) => fs::write(&path, played.text).map_err(|why| format!("{file}: {why}"))?,
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let hint = format!("{RECORD}=1 writes scripts anew; then read what `git diff` shows.");
    Err(format!("\n\n{}\n\n{hint}\n", failures.join("\n\n")))
}

fn scripts(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let name = folder.display();
    let entries = fs::read_dir(folder).map_err(|why| format!("{name}: {why}"))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(|why| format!("{name}: {why}")));
    let mut paths = paths.collect::<Result<Vec<PathBuf>, String>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    if paths.is_empty() { Err(format!("{name}: no script is there")) } else { Ok(paths) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;

    struct Echo;

    impl Stage for Echo {
        fn run(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
            out.push(command.word("what to say")?);
            Ok(())
        }
    }

    #[test]
    fn what_is_recorded_agrees_from_then_on_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.txt");
        fs::write(&path, "# Echo.\nsay a\n").unwrap();
        assert!(play_as(Mode::Compare, folder.path(), || Echo).is_err());
        play_as(Mode::Record, folder.path(), || Echo).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# Echo.\nsay a\n----\na\n");
        play_as(Mode::Compare, folder.path(), || Echo).unwrap();
        fs::write(&path, "# Echo.\nsay a\n----\nb\n").unwrap();
        let why = play_as(Mode::Compare, folder.path(), || Echo).unwrap_err();
        assert!(why.contains("echo.txt:4: ") && why.contains("- b\n+ a"), "{why}");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "# Echo.\nsay a\n----\nb\n",
            "comparing writes nothing"
        );
    }

    #[test]
    fn a_folder_without_scripts_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert!(play_as(Mode::Compare, folder.path(), || Echo).is_err());
        assert!(play_as(Mode::Compare, folder.path().join("nowhere"), || Echo).is_err());
    }
}
