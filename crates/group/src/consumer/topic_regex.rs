//! Subscriptions by regular expression (KIP-848).
//!
//! Kafka takes RE2's syntax; the `regex` crate is of the same family and has the same linear time. An expression matches a topic if
//! it matches its whole name. Differences that topic names (ASCII) cannot show are left as they are.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;
use regex::{Regex, RegexBuilder};

use crate::topics::Topics;

/// Bytes of an expression. A list of many topics is better sent as names.
pub const REGEX_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a compiled expression may take: some short expressions are huge.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Bytes of the cache that matching may take.
const CACHE_BYTES_MAX: usize = 1 << 20;
/// Groups within groups.
const NESTING_MAX: u32 = 100;

/// The topics that an expression matched when it was last looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub topics: BTreeSet<Str>,
    /// Counts how often the topics changed.
    pub version: i64,
    /// Wall clock, in milliseconds.
    pub timestamp: i64,
}

/// Compiles an expression; the error says what is wrong with it.
pub fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > REGEX_BYTES_MAX {
        return Err(format!("it is longer than {REGEX_BYTES_MAX} bytes"));
    }
    // Compiled by itself first: `a)(b` is wrong although it is not between parentheses.
    build(expression)?;
    build(&format!(r"\A(?:{expression})\z"))
}

fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| error.to_string())
}

/// The topics that each expression matches now.
pub fn resolve(expressions: &BTreeMap<Str, Regex>, topics: &dyn Topics) -> BTreeMap<Str, BTreeSet<Str>> {
    let mut matches: BTreeMap<Str, BTreeSet<Str>> =
        expressions.keys().map(|expression| (expression.clone(), BTreeSet::new())).collect();
    topics.each_name(&mut |name| {
        for ((_, matched), regex) in matches.iter_mut().zip(expressions.values()) {
            if regex.is_match(name) {
                matched.insert(name.clone());
            }
        }
    });
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_must_match() {
        let cases = [
            ("foo", "foo", true),
            ("foo", "foo1", false),
            ("foo|foobar", "foobar", true),
            ("foo*", "fooo", true),
            ("f.+", "f", false),
            (".*", "anything", true),
            ("^foo$", "foo", true),
            ("a|b", "ab", false),
            ("(?i)FOO", "foo", true),
        ];
        for (expression, name, expected) in cases {
            assert_eq!(compile(expression).unwrap().is_match(name), expected, "{expression} {name}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = "(".repeat(1000) + &")".repeat(1000);
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        for expression in ["[", "a)(b", "(?x)a#", "(?=a)", r"\1", "(((a{1000}){1000}){1000})", &deep, &long] {
            assert!(compile(expression).is_err(), "{expression:.40}");
        }
    }
}
