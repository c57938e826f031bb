//! Subscriptions by regular expression (KIP-848).
//!
//! Kafka takes RE2's syntax. The engine of the `regex` crate is of the same family and has the same linear
//! time. The engine is used directly, because it reports how much memory an expression takes. An expression
//! matches a topic if it matches its whole name. Differences that topic names (ASCII) cannot show are left as
//! they are.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::primitives::Str;
use regex_automata::util::syntax;
use regex_automata::{Input, meta};

use crate::counted::{Counted, CountedMap};
use crate::memory::of_text;
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

/// A compiled expression. A clone is cheap.
pub type Regex = meta::Regex;

/// Compiled expressions.
#[derive(Default)]
pub struct Compiled(CountedMap<Str, Readable>);

/// The compiled form of an expression; `None` for one that this broker cannot read.
struct Readable(Option<Regex>);

impl Counted<Str> for Readable {
    fn bytes(&self, expression: &Str) -> usize {
        of_text(expression) + self.0.as_ref().map_or(0, Regex::memory_usage)
    }
}

impl Compiled {
    pub fn put(&mut self, expression: &Str, regex: Option<Regex>) {
        self.0.insert(expression.clone(), Readable(regex));
    }

    /// The compiled form of an expression, if there is one.
    pub fn of(&mut self, expression: &Str) -> Option<Regex> {
        if !self.0.contains_key(expression) {
            self.put(expression, compile(expression).ok());
        }
        self.0.get(expression).and_then(|readable| readable.0.clone())
    }

    pub fn retain(&mut self, keep: impl Fn(&Str) -> bool) {
        self.0.retain(|expression, _| keep(expression));
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
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
    let limits =
        meta::Config::new().nfa_size_limit(Some(COMPILED_BYTES_MAX)).hybrid_cache_capacity(CACHE_BYTES_MAX);
    meta::Builder::new()
        .configure(limits)
        .syntax(syntax::Config::new().nest_limit(NESTING_MAX))
        .build(expression)
        .map_err(|error| problem(&error))
}

/// The fault in an expression. The engine itself only says that there is one.
fn problem(error: &meta::BuildError) -> String {
    error.syntax_error().map_or_else(|| error.to_string(), |syntax| syntax.to_string())
}

/// The topics that each expression matches now.
pub fn resolve(expressions: &BTreeMap<Str, Regex>, topics: &dyn Topics) -> BTreeMap<Str, BTreeSet<Str>> {
    let mut matches: BTreeMap<Str, BTreeSet<Str>> =
        expressions.keys().map(|expression| (expression.clone(), BTreeSet::new())).collect();
    // Not those that the engine would keep.
    let mut caches: Vec<meta::Cache> = expressions.values().map(Regex::create_cache).collect();
    topics.each_name(&mut |name| {
        for ((matched, regex), cache) in matches.values_mut().zip(expressions.values()).zip(&mut caches) {
            let name_ends = Input::new(name.as_str()).earliest(true);
            if regex.search_half_with(cache, &name_ends).is_some() {
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
