//! A pattern of topic names that is subscribed to.

use ottla_wire::primitives::Str;
use regex::Regex;

use crate::error::Error;

/// Most bytes that a compiled pattern may take (1 MiB).
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A regular expression that the whole name of a topic must match, in RE2's syntax (no look-around, no
/// back-references).
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Str,
    regex: Regex,
    exclude_internal: bool,
}

impl Pattern {
    pub(super) fn new(text: &str, exclude_internal: bool) -> Result<Pattern, Error> {
        let regex = regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(COMPILED_BYTES_MAX).build();
        let regex = regex.map_err(|_| Error::Config {
            name: "pattern of topics",
            value: text.to_owned(),
            reason: "it is not a regular expression of RE2's syntax",
        })?;
        Ok(Pattern { text: Str::from(text), regex, exclude_internal })
    }

    pub(super) fn text(&self) -> &Str {
        &self.text
    }

    pub(super) fn matches(&self, topic: &str, internal: bool) -> bool {
        !(internal && self.exclude_internal) && self.regex.is_match(topic)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        (&self.text, self.exclude_internal) == (&other.text, other.exclude_internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_must_match() {
        for (pattern, topic, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a|b", "b", true),
            ("a|b", "xb", false),
            ("orders-.*", "orders-eu", true),
            (".*", "__consumer_offsets", false),
        ] {
            let matches = Pattern::new(pattern, true).unwrap().matches(topic, topic.starts_with("__"));
            assert_eq!(matches, expected, "{pattern} and {topic}");
        }
        assert!(Pattern::new(".*", false).unwrap().matches("__consumer_offsets", true));
        assert!(Pattern::new("(?!a)", true).is_err());
        assert!(Pattern::new("a{1000000}", true).is_err());
    }
}
