//! Internal topics: whoever is about to harm one is asked first.

use std::io::{self, BufRead, IsTerminal};

use ottla_wire::InternalTopic;

use crate::exit::Failure;
use crate::output::complain;

/// Lets a change of these topics through if none is internal, `force` says so, or the one at the terminal
/// does.
pub fn permit(what: &str, names: &[String], force: bool) -> Result<(), Failure> {
    let Some(question) = question(what, names).filter(|_| !force) else { return Ok(()) };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(question).hint("--force does it all the same"));
    }
    complain(&format!("{question}\nType \"yes\" to {what}: "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read.is_ok() && answer.trim() == "yes" {
        true => Ok(()),
        false => Err(Failure::failed("nothing was done")),
    }
}

/// What would be lost; `None` if nothing would.
fn question(what: &str, names: &[String]) -> Option<String> {
    let lines = names.iter().filter_map(|name| {
        let held = InternalTopic::holds(name)?;
        Some(format!("to {what} {name}, an internal topic, is to lose {held}"))
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_internal_topics_are_asked_for() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(question("delete", &names(&["orders", "__mine"])), None);
        let asked =
            question("delete", &names(&["orders", "__consumer_offsets", "__transaction_state"])).unwrap();
        assert!(asked.contains("committed offsets") && asked.contains("every transaction"), "{asked}");
        assert!(permit("delete", &names(&["orders"]), false).is_ok());
        assert!(permit("delete", &names(&["__consumer_offsets"]), true).is_ok());
    }
}
