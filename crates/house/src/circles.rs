//! The circles among the files of a crate.

use std::collections::BTreeMap;
use std::fmt;

use crate::tree::{Arrow, Tree};

/// Files of which each can be reached from each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// In order of their names.
    pub files: Vec<String>,
    /// The arrows between them.
    pub arrows: Vec<Arrow>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} files, held together by {} arrows:", self.files.len(), self.arrows.len())?;
        for Arrow { from, to, line, path } in &self.arrows {
            writeln!(f, "  {from}:{line} -> {to} ({path})")?;
        }
        Ok(())
    }
}

/// All circles of two files and more, the largest first.
pub fn circles(tree: &Tree) -> Vec<Circle> {
    let arrows = tree.arrows();
    let mut circles: Vec<Circle> =
        strongly_connected(&arrows).into_iter().map(|files| circle(files, &arrows)).collect();
    circles.sort_by(|one, other| other.files.len().cmp(&one.files.len()).then(one.files.cmp(&other.files)));
    circles
}

fn circle(mut files: Vec<String>, arrows: &[Arrow]) -> Circle {
    files.sort();
    let inside = |file: &String| files.binary_search(file).is_ok();
    let arrows = arrows.iter().filter(|arrow| inside(&arrow.from) && inside(&arrow.to)).cloned().collect();
    Circle { files, arrows }
}

/// Tarjan's algorithm; what is on its own is left out.
fn strongly_connected(arrows: &[Arrow]) -> Vec<Vec<String>> {
    let mut search = Search::default();
    for arrow in arrows {
        search.next.entry(&arrow.from).or_default().push(&arrow.to);
    }
    for file in arrows.iter().map(|arrow| arrow.from.as_str()) {
        if !search.found.contains_key(file) {
            search.visit(file);
        }
    }
    search.circles
}

#[derive(Default)]
struct Search<'a> {
    next: BTreeMap<&'a str, Vec<&'a str>>,
    /// When each file was found, and the earliest one known to be reachable from it that is still open.
    found: BTreeMap<&'a str, (usize, usize)>,
    open: Vec<&'a str>,
    circles: Vec<Vec<String>>,
}

impl<'a> Search<'a> {
    /// Gives the earliest open file that can be reached.
    fn visit(&mut self, file: &'a str) -> usize {
        let number = self.found.len();
        let mut low = number;
        self.found.insert(file, (number, low));
        self.open.push(file);
        for next in self.next.get(file).cloned().unwrap_or_default() {
            match self.found.get(next) {
                None => low = low.min(self.visit(next)),
                Some((known, _)) if self.open.contains(&next) => low = low.min(*known),
                Some(_) => {}
            }
        }
        self.found.insert(file, (number, low));
        if low == number {
            let from = self.open.iter().rposition(|open| *open == file).unwrap_or(0);
            let members = self.open.split_off(from);
            if members.len() > 1 {
                self.circles.push(members.into_iter().map(str::to_owned).collect());
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(arrows: &str) -> Vec<String> {
        let arrow = |pair: &str| {
            let (from, to) = pair.split_at(1);
            Arrow { from: from.to_owned(), to: to.to_owned(), line: 1, path: String::new() }
        };
        let arrows: Vec<Arrow> = arrows.split(' ').map(arrow).collect();
        let mut found: Vec<String> = strongly_connected(&arrows)
            .into_iter()
            .map(|mut files| {
                files.sort();
                files.concat()
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn circles_are_found_and_what_is_no_circle_is_not() {
        let cases: [(&str, &[&str]); 6] = [
            ("ab bc cd", &[]),
            ("ab ba", &["ab"]),
            ("ab bc ca cd", &["abc"]),
            ("ab ba cd dc bc", &["ab", "cd"]),
            ("ab bc cb ca de", &["abc"]),
            ("ab ac bd cd de ef fd", &["def"]),
        ];
        for (arrows, expected) in cases {
            assert_eq!(circles_of(arrows), expected, "{arrows}");
        }
    }
}
