//! What happened: a hash of all of it, and the last lines in words.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};

use ottla_wire::Instant;

/// How many lines are kept to be shown when something breaks.
const LINES_KEPT: usize = 60;

/// The record of a run. Two runs with the same hash did the same.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    last: VecDeque<String>,
    /// Every line is printed as it comes.
    print: bool,
}

impl Trace {
    pub fn new(print: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::new(), print }
    }

    pub fn note(&mut self, now: Instant, what: Arguments<'_>) {
        let mut line = if self.last.len() == LINES_KEPT {
            self.last.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        // Writing to a string does not fail.
        let _ = write!(line, "{:>12.6}s {what}", now.0 as f64 / 1e9);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.print {
            println!("{line}");
        }
        self.last.push_back(line);
    }

    /// FNV-1a over all lines.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
