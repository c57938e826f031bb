//! For whom an answer is: a person at a terminal, a program that takes columns, or one that takes JSON.

use std::io::{self, IsTerminal};

use crate::args::{Colour, OutputArgs};

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

pub fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && colour_wanted()
}

/// `NO_COLOR` (no-color.org) and a terminal that says it is dumb turn colour off.
fn colour_wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_with_colour_is_painted() {
        assert_eq!(Style::Terminal { colour: true }.bold("x"), "\x1b[1mx\x1b[0m");
        for style in [Style::Terminal { colour: false }, Style::Plain, Style::Json] {
            assert_eq!(style.alarm("x"), "x");
        }
    }
}
