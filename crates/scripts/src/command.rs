//! One line of a script: a name, words, and `key=value` pairs. Words in quotes may hold spaces.

use std::fmt::Display;
use std::str::FromStr;

/// A command. Each argument is taken once; one that nobody takes is a mistake of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    name: String,
    arguments: Vec<String>,
}

impl Command {
    pub fn parse(line: &str) -> Result<Command, String> {
        let mut words = split(line)?.into_iter();
        let name = words.next().ok_or("an empty command")?;
        Ok(Command { name, arguments: words.collect() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next word that is not a `key=value` pair.
    pub fn word(&mut self, what: &str) -> Result<String, String> {
        let at = self.arguments.iter().position(|argument| !argument.contains('='));
        at.map(|at| self.arguments.remove(at)).ok_or_else(|| format!("{what} is missing"))
    }

    /// As [`Command::word`], read as a `T`.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, what: &str) -> Result<T, String> {
        read(what, &self.word(what)?)
    }

    /// Whether this word is there.
    pub fn flag(&mut self, word: &str) -> bool {
        let at = self.arguments.iter().position(|argument| argument == word);
        at.map(|at| self.arguments.remove(at)).is_some()
    }

    /// The value of a `key=value` pair, if it is there.
    pub fn value(&mut self, key: &str) -> Option<String> {
        let is_key = |argument: &String| argument.split_once('=').is_some_and(|(found, _)| found == key);
        let pair = self.arguments.iter().position(is_key).map(|at| self.arguments.remove(at))?;
        pair.split_once('=').map(|(_, value)| value.to_owned())
    }

    /// As [`Command::value`], read as a `T`.
    pub fn parsed_value<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<T>, String> {
        self.value(key).map(|value| read(key, &value)).transpose()
    }

    /// The values of `key=1,2,3`; `key=none` is an empty list.
    pub fn list<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<Vec<T>>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        if value == "none" {
            return Ok(Some(Vec::new()));
        }
        value.split(',').map(|item| read(key, item)).collect::<Result<_, _>>().map(Some)
    }

    /// Everything was taken.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.arguments.first() {
            Some(argument) => Err(format!("nobody knows what {argument} means here")),
            None => Ok(()),
        }
    }
}

fn read<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|why| format!("{what} {text}: {why}"))
}

fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quote without an end")?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_pairs_lists_and_quotes_are_told_apart() {
        let mut command = Command::parse("append \"a b\" acks=all isr=1,2 elr=none txn 7").unwrap();
        assert_eq!(command.name(), "append");
        assert_eq!(command.value("acks").as_deref(), Some("all"));
        assert_eq!(command.value("acks"), None, "each is taken once");
        assert_eq!(command.list("isr"), Ok(Some(vec![1, 2])));
        assert_eq!(command.list::<i32>("elr"), Ok(Some(vec![])));
        assert!(command.flag("txn") && !command.flag("txn"));
        assert_eq!(command.word("the value").as_deref(), Ok("a b"));
        assert!(command.finish().is_err());
        assert_eq!(command.parsed("the number"), Ok(7));
        assert_eq!(command.finish(), Ok(()));
        assert_eq!(command.word("the rest"), Err("the rest is missing".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(Command::parse("append \"a").is_err());
        assert!(Command::parse("flush x").unwrap().parsed::<i32>("broker").is_err());
        assert!(Command::parse("metadata isr=1,x").unwrap().list::<i32>("isr").is_err());
    }
}
