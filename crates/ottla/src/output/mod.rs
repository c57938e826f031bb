//! How commands answer: tables and colour at a terminal, plain columns in a pipe, JSON for machines.

mod table;

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::args::{Colour, OutputArgs};
use crate::exit::Failure;
pub use table::{Align, Table};

/// How to answer on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For a person.
    Terminal {
        colour: bool,
    },
    /// For a program that takes columns: no header, parted by tabs.
    Plain,
    Json,
}

impl Style {
    pub fn of(args: OutputArgs) -> Style {
        if args.json {
            return Style::Json;
        }
        match args.color {
            Colour::Always => Style::Terminal { colour: true },
            Colour::Never if io::stdout().is_terminal() => Style::Terminal { colour: false },
            Colour::Auto if io::stdout().is_terminal() => Style::Terminal { colour: colour_wanted() },
            Colour::Never | Colour::Auto => Style::Plain,
        }
    }

    /// Marks text that is less important than what stands beside it.
    pub fn dim(self, text: &str) -> String {
        self.paint("\x1b[2m", text)
    }

    /// Marks a heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("\x1b[1m", text)
    }

    /// Marks what someone should look at.
    pub fn alarm(self, text: &str) -> String {
        self.paint("\x1b[31m", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Style::Terminal { colour: true } => format!("{code}{text}\x1b[0m"),
            Style::Terminal { colour: false } | Style::Plain | Style::Json => text.to_owned(),
        }
    }
}

/// Writes to stdout. `false`: nobody reads it any more (`| head`), which is no error; the command can end.
pub fn print(text: impl AsRef<[u8]>) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}

/// One JSON document on a line.
pub fn json_line(value: &Value) -> String {
    format!("{value}\n")
}

/// Writes to stderr as it is.
pub fn complain(text: &str) {
    // There is nobody left to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

pub fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_wanted()
}

/// `NO_COLOR` (no-color.org) and a terminal that says it is dumb turn colour off.
fn colour_wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A size for people: `0 B`, `999 B`, `1.5 KiB`, `12 MiB`.
pub fn bytes_for_people(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be shown as 1024 is shown as 1 of the next unit.
        if size < 1023.5 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    let digits = if unit == "B" || size >= 9.95 { 0 } else { 1 };
    format!("{size:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 10, "10 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (12 << 20, "12 MiB"),
            (i64::MAX, "8.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(bytes_for_people(bytes), text);
        }
    }

    #[test]
    fn only_a_terminal_with_colour_is_painted() {
        assert_eq!(Style::Terminal { colour: true }.bold("x"), "\x1b[1mx\x1b[0m");
        for style in [Style::Terminal { colour: false }, Style::Plain, Style::Json] {
            assert_eq!(style.alarm("x"), "x");
        }
    }
}
