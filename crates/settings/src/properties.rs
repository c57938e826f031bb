//! The `.properties` format of Java, in which Kafka's settings are written.

use crate::error::ConfigError;

/// The pairs of a properties file in order; a name may come twice (the later one holds).
///
/// Lines end in `\n`, `\r` or both; `#` and `!` start a comment; `=`, `:` or white space part name and value;
/// a backslash at the end of a line continues it; `\t \n \r \f \uXXXX` stand for characters, any other
/// escaped character for itself.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    // Editors of other systems begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pairs = Vec::new();
    for (line, text) in logical_lines(text) {
        let (name, value) = split(&text);
        let unescaped = |text: &str| unescape(text).map_err(|what| ConfigError::Syntax { line, what });
        pairs.push((unescaped(name)?, unescaped(value)?));
    }
    Ok(pairs)
}

/// Lines with their continuations, without comments and blank lines, each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (at, line) in text.split('\n').enumerate() {
        let line = line.trim_start_matches(is_space);
        if !continues && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let more = line.bytes().rev().take_while(|c| *c == b'\\').count() % 2 == 1;
        let part = if more { &line[..line.len() - 1] } else { line };
        match lines.last_mut() {
            Some((_, whole)) if continues => whole.push_str(part),
            _ => lines.push((at + 1, part.to_owned())),
        }
        continues = more;
    }
    lines
}

/// Name and value: parted at the first `=`, `:` or space that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || is_space(c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_space))
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    // Characters beyond the basic plane are written as two units.
    let mut units = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        if escaped == Some('u') {
            let digits: String = chars.by_ref().take(4).collect();
            let unit = Some(&digits).filter(|digits| digits.len() == 4);
            units.push(
                unit.and_then(|digits| u16::from_str_radix(digits, 16).ok())
                    .ok_or("\\u needs four hexadecimal digits")?,
            );
            continue;
        }
        flush(&mut units, &mut out)?;
        match (c, escaped) {
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('f')) => out.push('\u{c}'),
            ('\\', Some(other)) => out.push(other),
            ('\\', None) => {}
            _ => out.push(c),
        }
    }
    flush(&mut units, &mut out)?;
    Ok(out)
}

fn flush(units: &mut Vec<u16>, out: &mut String) -> Result<(), &'static str> {
    out.push_str(&String::from_utf16(units).map_err(|_| "half of a surrogate pair")?);
    units.clear();
    Ok(())
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_read_as_java_reads_them() {
        let cases = [
            ("a=b", vec![("a", "b")]),
            ("a = b ", vec![("a", "b ")]),
            ("  a:b\nc d", vec![("a", "b"), ("c", "d")]),
            ("# no\n! no\n\n a", vec![("a", "")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a=x,\\\n   y", vec![("a", "x,y")]),
            ("a=x\\\\\nb=y", vec![("a", "x\\"), ("b", "y")]),
            ("a=x,\\\n# still the value", vec![("a", "x,# still the value")]),
            ("a\\=b\\ c=d", vec![("a=b c", "d")]),
            ("a=\\u0041\\t\\q", vec![("a", "A\tq")]),
            ("a=\\ud83d\\ude00", vec![("a", "\u{1f600}")]),
            ("a=1\r\nb=2\rc=3", vec![("a", "1"), ("b", "2"), ("c", "3")]),
            ("a==b", vec![("a", "=b")]),
            ("\u{feff}a=b\n\u{feff}c=d", vec![("a", "b"), ("\u{feff}c", "d")]),
            ("\u{feff}# no\na=b", vec![("a", "b")]),
        ];
        for (text, pairs) in cases {
            let pairs: Vec<(String, String)> =
                pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            assert_eq!(parse(text), Ok(pairs), "{text:?}");
        }
    }

    #[test]
    fn bad_escapes_name_their_line() {
        for text in ["x=1\na=\\u12", "x=1\na=\\u12g4", "x=1\na=\\ud83d!"] {
            assert!(matches!(parse(text), Err(ConfigError::Syntax { line: 2, .. })), "{text:?}");
        }
    }
}
