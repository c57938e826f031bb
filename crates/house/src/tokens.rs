//! The words of a source file, without comments, strings and tests.

/// A name, `::`, or one other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    /// Counted from 1.
    pub line: usize,
}

impl Token<'_> {
    pub fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// All words of a source that are not for tests.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    without_tests(&all(source))
}

fn all(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(next) = source[at..].chars().next() {
        let rest = &source[at..];
        let len = match skipped(rest) {
            Some(len) => len,
            None => {
                let len = word(rest).unwrap_or(next.len_utf8());
                found.push(Token { text: rest[..len].trim_start_matches("r#"), line });
                len
            }
        };
        line += rest[..len].matches('\n').count();
        at += len;
    }
    found
}

/// The length of a name, a number or `::`.
fn word(rest: &str) -> Option<usize> {
    if rest.starts_with("::") {
        return Some(2);
    }
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let len = rest[raw..].find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len() - raw);
    (len > 0).then_some(raw + len)
}

/// The length of white space, a comment, a text or a character that `rest` begins with.
fn skipped(rest: &str) -> Option<usize> {
    let first = rest.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let prefix =
        ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| rest.starts_with(prefix)).unwrap_or("");
    let quoted = &rest[prefix.len()..];
    if prefix.ends_with('r') && (quoted.starts_with('"') || quoted.starts_with('#')) {
        return raw_text(quoted).map(|len| prefix.len() + len);
    }
    if quoted.starts_with('"') {
        return Some(prefix.len() + until(quoted, '"'));
    }
    if matches!(prefix, "" | "b") && quoted.starts_with('\'') {
        return Some(prefix.len() + character_or_lifetime(quoted));
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += step.0;
        at += step.1;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of `#"…"#` with any number of `#`; `None` for a raw name.
fn raw_text(quoted: &str) -> Option<usize> {
    let hashes = quoted.find(|c| c != '#')?;
    if !quoted[hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let from = hashes + 1;
    Some(quoted[from..].find(&end).map_or(quoted.len(), |at| from + at + end.len()))
}

/// The length up to the second `quote`, which a backslash before it does not count as.
fn until(quoted: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    quoted.len()
}

fn character_or_lifetime(quoted: &str) -> usize {
    let mut inner = quoted.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => until(quoted, '\''),
        _ => 1 + word(&quoted[1..]).unwrap_or(0),
    }
}

/// Words that begin an item which ends with its first block, or with a semicolon before that.
const ITEMS: [&str; 12] = [
    "pub",
    "fn",
    "async",
    "unsafe",
    "const",
    "static",
    "struct",
    "enum",
    "trait",
    "impl",
    "mod",
    "macro_rules",
];

fn without_tests<'a>(all: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        match test_attribute(&all[at..]) {
            Some(len) => at += len + item(&all[at + len..]),
            None => {
                kept.push(all[at]);
                at += 1;
            }
        }
    }
    kept
}

/// The length of `#[cfg(test)]`, if it is what comes next.
fn test_attribute(rest: &[Token<'_>]) -> Option<usize> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let same =
        rest.len() >= CFG_TEST.len() && rest.iter().zip(CFG_TEST).all(|(token, text)| token.text == text);
    same.then_some(CFG_TEST.len())
}

/// The length of what an attribute stands before: an item, a statement or a field.
fn item(rest: &[Token<'_>]) -> usize {
    let is_item = rest.first().is_some_and(|first| ITEMS.contains(&first.text));
    let is_use =
        rest.iter().take_while(|token| token.text != "{" && token.text != ";").any(|t| t.text == "use");
    let mut depth = 0_i32;
    for (at, token) in rest.iter().enumerate() {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token.text == "}" && !is_use {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            "," if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> String {
        tokens(source).iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_found_between_comments_texts_and_lifetimes() {
        let cases = [
            ("use a::b; // use c::d;", "use a :: b ;"),
            ("/* x /* y */ z */ f()", "f ( )"),
            ("let s = \"crate::a \\\" b\";", "let s = ;"),
            ("r#\"crate::a\"b\"# + br\"x\" + r#type", "+ + type"),
            ("fn f<'a>(x: &'a str) -> char { '\\'' }", "fn f < > ( x : & str ) - > char { }"),
            ("b'x' 'y' 'static", ""),
        ];
        for (source, expected) in cases {
            assert_eq!(texts(source), expected, "{source}");
        }
    }

    #[test]
    fn what_is_for_tests_is_left_out() {
        let cases = [
            ("#[cfg(test)] mod tests { use a; { b } } fn f() {}", "fn f ( ) { }"),
            ("#[cfg(test)] use a::{b, c}; use d;", "use d ;"),
            ("#[cfg(test)] pub(super) use a::{b}; use d;", "use d ;"),
            ("struct S { #[cfg(test)] a: A<B>, c: C }", "struct S { c : C }"),
            ("{ #[cfg(test)] self.a()?; b }", "{ b }"),
            ("#[cfg(test)] fn f<A, B>() -> A { a } b", "b"),
            ("#[cfg(test)] mod tests; mod other;", "mod other ;"),
        ];
        for (source, expected) in cases {
            assert_eq!(texts(source), expected, "{source}");
        }
    }

    #[test]
    fn words_know_their_lines() {
        let lines: Vec<usize> = tokens("a\n/* \n */ b\n\"\n\" c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 5]);
    }
}
