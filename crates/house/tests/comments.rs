//! The law of width: comments keep to the width that `rustfmt.toml` gives to code, which the formatter does
//! not see to.

// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

use ottla_house::workspace;

#[test]
fn comments_keep_to_the_width_of_code() {
    let width = width_of_code();
    let mut wrong = Vec::new();
    for file in workspace::sources(&["bench", "crates", "examples", "fuzz", "tests"]).unwrap() {
        let text = std::fs::read_to_string(&file).unwrap();
        wrong.extend(too_wide(&text, width).map(|line| format!("{}:{line}", file.display())));
    }
    assert!(wrong.is_empty(), "comments wider than {width} columns:\n{}", wrong.join("\n"));
}

/// Made-up lines break the law, so that the law is known to be able to fail.
#[test]
fn a_wide_comment_is_found_and_wide_code_is_not() {
    let text = "//! short\n    /// a comment that is too wide\nlet code = \"that is too wide, too\";\n";
    assert_eq!(too_wide(text, 20).collect::<Vec<_>>(), [2]);
}

/// The numbers of the lines whose comment ends beyond the width.
fn too_wide(text: &str, width: usize) -> impl Iterator<Item = usize> {
    let is_wide = move |line: &str| line.trim_start().starts_with("//") && line.chars().count() > width;
    text.lines().enumerate().filter(move |(_, line)| is_wide(line)).map(|(number, _)| number + 1)
}

fn width_of_code() -> usize {
    let settings = std::fs::read_to_string(workspace::root().join("rustfmt.toml")).unwrap();
    let width = settings.lines().find_map(|line| line.strip_prefix("max_width = "));
    width.unwrap().trim().parse().unwrap()
}
