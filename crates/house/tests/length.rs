//! The law of length: a file holds one idea, and no idea takes more than 500 lines.

// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

use ottla_house::workspace;

/// The most lines of a file, its tests among them.
const LINES_MAX: usize = 500;

#[test]
fn files_are_short() {
    let files = workspace::sources(&["crates"]).unwrap().into_iter();
    let sources = files.filter(|file| file.components().any(|part| part.as_os_str() == "src"));
    let wrong: Vec<String> = sources
        .filter_map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            too_long(&text).map(|lines| format!("{} has {lines} lines", file.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "longer than {LINES_MAX} lines, split them by idea:\n{}", wrong.join("\n"));
}

/// A made-up file breaks the law, so that the law is known to be able to fail.
#[test]
fn a_line_too_many_is_found() {
    assert_eq!(too_long(&"line\n".repeat(LINES_MAX)), None);
    assert_eq!(too_long(&"line\n".repeat(LINES_MAX + 1)), Some(LINES_MAX + 1));
}

/// How many lines there are, if they are too many.
fn too_long(text: &str) -> Option<usize> {
    Some(text.lines().count()).filter(|lines| *lines > LINES_MAX)
}
