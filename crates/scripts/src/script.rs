//! A script: prose (comments and blank lines, kept as they are) and blocks of commands with what came of
//! them.

use crate::diff::diff;
use crate::{Command, Stage};

/// Between the commands of a block and what came of them.
const SEPARATOR: &str = "----";

/// Stands where nothing came, so that nobody takes it for a block that was never recorded.
const NOTHING: &str = "(nothing)";

/// What came of a script.
#[derive(Debug, Default)]
pub struct Played {
    /// The script as it would be recorded.
    pub text: String,
    /// Where it is not what came, with file and line.
    pub mismatches: Vec<String>,
}

enum Part<'a> {
    Prose(&'a str),
    Block(Block<'a>),
}

#[derive(Default)]
struct Block<'a> {
    /// With their line numbers.
    commands: Vec<(usize, &'a str)>,
    expected: Vec<&'a str>,
    /// The line number of the separator; 0 if there is none yet.
    separator: usize,
}

/// Plays a script. Fails where the script itself is wrong.
pub fn perform(file: &str, text: &str, stage: &mut impl Stage) -> Result<Played, String> {
    let mut played = Played::default();
    for part in parse(file, text)? {
        match part {
            Part::Prose(line) => push_line(&mut played.text, line),
            Part::Block(block) => perform_block(file, &block, stage, &mut played)?,
        }
    }
    Ok(played)
}

fn perform_block(
    file: &str,
    block: &Block<'_>,
    stage: &mut impl Stage,
    played: &mut Played,
) -> Result<(), String> {
    let mut actual = Vec::new();
    for &(line, text) in &block.commands {
        run(text, stage, &mut actual).map_err(|why| format!("{file}:{line}: {text}: {why}"))?;
        push_line(&mut played.text, text);
    }
    if actual.is_empty() {
        actual.push(NOTHING.to_owned());
    }
    push_line(&mut played.text, SEPARATOR);
    for line in &actual {
        push_line(&mut played.text, line);
    }
    let first = block.commands.first().map_or(0, |(line, _)| *line);
    if block.separator == 0 {
        played.mismatches.push(format!("{file}:{first}: never recorded\n+ {}", actual.join("\n+ ")));
    } else if let Some((agree, lines)) = diff(&block.expected, &actual) {
        let line = block.separator + 1 + agree;
        let commands: Vec<&str> = block.commands.iter().map(|(_, text)| *text).collect();
        let shown =
            format!("{file}:{line}: not as recorded (- expected, + came)\n  {}", commands.join("\n  "));
        played.mismatches.push(format!("{shown}\n  {SEPARATOR}\n{}", lines.join("\n")));
    }
    Ok(())
}

fn run(text: &str, stage: &mut impl Stage, out: &mut Vec<String>) -> Result<(), String> {
    let mut command = Command::parse(text)?;
    let before = out.len();
    stage.run(&mut command, out)?;
    command.finish()?;
    match out[before..].iter().find(|line| !can_be_recorded(line)) {
        Some(line) => Err(format!("what came of it cannot be told from the script: {line:?}")),
        None => Ok(()),
    }
}

fn can_be_recorded(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#') && line != SEPARATOR && !line.contains('\n')
}

fn parse<'a>(file: &str, text: &'a str) -> Result<Vec<Part<'a>>, String> {
    if !text.starts_with("# ") {
        return Err(format!("{file}:1: a script begins with its title: # ..."));
    }
    let mut parts = Vec::new();
    let mut block = Block::default();
    for (number, line) in (1..).zip(text.lines()) {
        let prose = line.trim().is_empty() || line.starts_with('#');
        match line {
            _ if prose => {
                close(&mut block, &mut parts);
                parts.push(Part::Prose(line));
            }
            SEPARATOR if block.commands.is_empty() => {
                return Err(format!("{file}:{number}: no command above"));
            }
            SEPARATOR if block.separator > 0 => {
                return Err(format!("{file}:{number}: a blank line is missing above the command"));
            }
            SEPARATOR => block.separator = number,
            _ if block.separator > 0 => block.expected.push(line),
            _ => block.commands.push((number, line)),
        }
    }
    close(&mut block, &mut parts);
    match parts.iter().any(|part| matches!(part, Part::Block(_))) {
        true => Ok(parts),
        false => Err(format!("{file}: nothing happens in it")),
    }
}

fn close<'a>(block: &mut Block<'a>, parts: &mut Vec<Part<'a>>) {
    if !block.commands.is_empty() {
        parts.push(Part::Block(std::mem::take(block)));
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up.
    struct Sum(i32);

    impl Stage for Sum {
        fn run(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
            match command.name() {
                "add" => self.0 += command.parsed::<i32>("a number")?,
                "show" => out.push(format!("sum {}", self.0)),
                "blank" => out.push(String::new()),
                other => return Err(format!("{other} is unknown")),
            }
            Ok(())
        }
    }

    const SCRIPT: &str = "# Sums.\n\nadd 1\nadd 2\n----\n(nothing)\n\n# Why.\nshow\n----\nsum 3\n";

    fn played(text: &str) -> Result<Played, String> {
        perform("sums.txt", text, &mut Sum(0))
    }

    #[test]
    fn a_script_that_is_as_recorded_is_written_as_it_was() {
        let played = played(SCRIPT).unwrap();
        assert_eq!(played.mismatches, Vec::<String>::new());
        assert_eq!(played.text, SCRIPT);
    }

    #[test]
    fn a_changed_script_fails_with_file_line_and_difference() {
        let played = played(&SCRIPT.replace("sum 3", "sum 4")).unwrap();
        let [mismatch] = &played.mismatches[..] else { panic!("{:?}", played.mismatches) };
        assert!(mismatch.starts_with("sums.txt:11: "), "{mismatch}");
        assert!(mismatch.ends_with("  show\n  ----\n- sum 4\n+ sum 3"), "{mismatch}");
        assert_eq!(played.text, SCRIPT, "what would be recorded is what came");
    }

    /// Every line counts: whichever is changed or taken away, the script fails.
    #[test]
    fn no_line_of_what_came_can_be_dropped() {
        for line in ["(nothing)\n", "sum 3\n"] {
            assert_eq!(played(&SCRIPT.replace(line, "")).unwrap().mismatches.len(), 1, "{line}");
        }
        assert_eq!(played(&SCRIPT.replace("sum 3\n", "sum 3\nmore\n")).unwrap().mismatches.len(), 1);
        assert_eq!(played(&SCRIPT.replace("add 2", "add 3")).unwrap().mismatches.len(), 1);
    }

    #[test]
    fn a_block_that_was_never_recorded_fails_and_can_be_recorded() {
        let new = played("# New.\nshow\n").unwrap();
        assert_eq!(new.mismatches.len(), 1);
        assert_eq!(new.text, "# New.\nshow\n----\nsum 0\n");
    }

    #[test]
    fn a_script_that_is_wrong_cannot_be_recorded() {
        for (text, where_and_why) in [
            ("show\n", "sums.txt:1: a script begins"),
            ("# Nothing.\n", "sums.txt: nothing"),
            ("# Unknown.\nsubtract 1\n", "sums.txt:2: subtract 1: subtract is unknown"),
            ("# Left over.\nadd 1 2\n", "sums.txt:2: add 1 2: nobody knows"),
            ("# Blank.\nblank\n", "sums.txt:2: blank: what came"),
            ("# No command.\n----\n", "sums.txt:2: no command"),
            ("# Glued.\nshow\n----\nsum 0\nshow\n----\nsum 0\n", "sums.txt:6: a blank line"),
        ] {
            let why = played(text).unwrap_err();
            assert!(why.starts_with(where_and_why), "{why}");
        }
    }
}
