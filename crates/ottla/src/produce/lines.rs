//! Lines of standard input, read by a thread: a terminal has no other way to be waited for.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::exit::Failure;

/// The longest line. Brokers take less (`message.max.bytes`), and say so.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Lines that are read ahead.
const LINES_AHEAD: usize = 256;

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    pub text: Bytes,
}

pub struct Lines {
    lines: mpsc::Receiver<Result<Line, Failure>>,
}

impl Lines {
    pub fn of_stdin() -> Result<Lines, Failure> {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        let read = move || {
            let mut input = io::stdin().lock();
            for number in 1.. {
                let line = read_line(&mut input, number, RECORD_BYTES_MAX).transpose();
                let last = !matches!(line, Some(Ok(_)));
                let Some(line) = line else { return };
                if sender.blocking_send(line).is_err() || last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
        thread.map_err(|error| Failure::failed(format!("no thread to read standard input: {error}")))?;
        Ok(Lines { lines })
    }

    /// The next line; `None` at the end of the input. After an error nothing more comes. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Line, Failure>> {
        self.lines.recv().await
    }
}

/// A line ends with `\n` or `\r\n`; the last one may go without.
fn read_line(input: &mut impl BufRead, number: u64, bytes_max: usize) -> Result<Option<Line>, Failure> {
    let mut text = Vec::new();
    let mut limited = input.take(bytes_max as u64 + 2);
    let read = limited.read_until(b'\n', &mut text);
    read.map_err(|error| {
        Failure::failed(format!("cannot read standard input after line {}: {error}", number - 1))
    })?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.pop_if(|last| *last == b'\n').is_some() {
        text.pop_if(|last| *last == b'\r');
    }
    if text.len() > bytes_max {
        return Err(Failure::failed(format!("line {number} is longer than {bytes_max} bytes")));
    }
    Ok(Some(Line { number, text: text.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, bytes_max: usize) -> (Vec<String>, Option<String>) {
        let mut input = text.as_bytes();
        let mut lines = Vec::new();
        for number in 1.. {
            match read_line(&mut input, number, bytes_max) {
                Ok(Some(line)) => lines.push(String::from_utf8(line.text.to_vec()).unwrap()),
                Ok(None) => break,
                Err(failure) => return (lines, Some(failure.what)),
            }
        }
        (lines, None)
    }

    #[test]
    fn ends_of_lines_are_left_out_and_nothing_else() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("a", &["a"]),
            ("a\nb\r\n", &["a", "b"]),
            ("\n\n", &["", ""]),
            (" a \rb\r\r\n", &[" a \rb\r"]),
            ("a\r", &["a\r"]),
        ];
        for (text, expected) in cases {
            assert_eq!(lines(text, 100).0, expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_not_read_without_end() {
        assert_eq!(lines("abc\r\nabc\n", 3), (vec!["abc".to_owned(), "abc".to_owned()], None));
        let (read, failure) = lines("abc\nabcd\n", 3);
        assert_eq!((read.len(), failure.as_deref()), (1, Some("line 2 is longer than 3 bytes")));
        assert!(lines("abcdefghij", 3).1.is_some());
    }
}
