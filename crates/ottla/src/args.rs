//! What several commands take on the command line. What one of them takes alone stands with it.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::logging::LogLevel;

/// Which cluster, and how patient to be with it.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Brokers to begin with, as HOST:PORT[,HOST:PORT]
    #[arg(
        long,
        short = 'b',
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        env = "OTTLA_BOOTSTRAP",
        global = true
    )]
    pub bootstrap_server: String,
    /// Seconds to wait for the cluster before giving up
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, global = true)]
    pub timeout: Duration,
    /// What is logged to stderr: off, error, warn, info, debug or trace; for single parts too:
    /// off,ottla_client=debug
    #[arg(long, value_name = "LEVEL", default_value = "off", global = true)]
    pub log_level: LogLevel,
}

/// How to answer.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// One JSON document a line, for machines
    #[arg(long, global = true)]
    pub json: bool,
    /// Colour and tables: auto is at a terminal only
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", global = true)]
    pub color: Colour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    Auto,
    Always,
    Never,
}

/// `NAME=VALUE`. The value may be empty and may hold further equals signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Pair, &'static str> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Pair { name: name.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("it must be NAME=VALUE"),
        }
    }
}

/// What is left of a list of names when those that come again are left out.
pub fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// Seconds, with a fraction if need be; more than none.
pub fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "it must be a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("it must be more than 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_come_once() {
        let names = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(unique(names), ["b", "a"]);
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "inf", "NaN", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!("a=".parse(), Ok(Pair { name: "a".to_owned(), value: String::new() }));
        assert!("=a".parse::<Pair>().is_err() && "a".parse::<Pair>().is_err());
    }
}
