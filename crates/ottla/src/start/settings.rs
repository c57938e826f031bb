//! From the command line and the file to the settings of a broker.
//!
//! A flag or `--set` wins over the file, the file over Ottla's own defaults for a start on a laptop
//! ([`DEFAULTS`]), those over Kafka's.

use std::path::Path;

use ottla_settings::{BrokerSettings, ConfigError, brackets, host_and_port, parse_properties};

use super::args::StartArgs;
use crate::exit::Failure;

/// What holds for settings that nobody has set. Kafka listens on every address of the host and keeps data
/// in /tmp; a start to try things must neither expose itself nor lose data.
const DEFAULTS: [(&str, &str); 2] =
    [("listeners", "PLAINTEXT://127.0.0.1:9092"), ("metrics.listener", "127.0.0.1:9644")];

/// The data directory unless `log.dirs` or `log.dir` is set, below the current directory.
const DEFAULT_DATA: &str = "ottla-data";

/// A setting and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    name: String,
    value: String,
    by: String,
}

/// Reads everything; all that is wrong is told at once.
pub fn read(args: &StartArgs) -> Result<BrokerSettings, Failure> {
    let file = match &args.config {
        Some(path) => file(path)?,
        None => Vec::new(),
    };
    resolve(args, file)
}

fn file(path: &Path) -> Result<Vec<Said>, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the settings in {shown}: {error}")))?;
    let pairs = parse_properties(&text).map_err(|error| Failure::usage(format!("{shown}, {error}")))?;
    let said = |(name, value)| Said { name, value, by: shown.to_string() };
    Ok(pairs.into_iter().map(said).collect())
}

fn resolve(args: &StartArgs, file: Vec<Said>) -> Result<BrokerSettings, Failure> {
    let command_line = command_line(args)?;
    let mut all = file;
    let is_set = |name: &str| all.iter().chain(&command_line).any(|said| said.name == name);
    let default = |name: &str, value: String| Said { name: name.to_owned(), value, by: "default".to_owned() };
    let mut defaults = Vec::new();
    for (name, value) in DEFAULTS.into_iter().filter(|(name, _)| !is_set(name)) {
        defaults.push(default(name, value.to_owned()));
    }
    if !is_set("log.dirs") && !is_set("log.dir") {
        defaults.push(default("log.dirs", data_dir(Path::new(DEFAULT_DATA))?));
    }
    all.extend(defaults);
    all.extend(command_line);
    let pairs = all.iter().map(|said| (said.name.as_str(), said.value.as_str()));
    BrokerSettings::from_pairs(pairs).map_err(|errors| refusal(&errors.0, &all))
}

/// What the flags and `--set` say. Nothing may be said twice: which of the two holds would be a guess.
fn command_line(args: &StartArgs) -> Result<Vec<Said>, Failure> {
    let mut said = Vec::new();
    let mut say =
        |name: &str, value: String, by: String| said.push(Said { name: name.to_owned(), value, by });
    if let Some(address) = &args.listen {
        say("listeners", listener("--listen", address)?, "--listen".to_owned());
    }
    if let Some(address) = &args.advertise {
        say("advertised.listeners", listener("--advertise", address)?, "--advertise".to_owned());
    }
    if let Some(dir) = &args.data {
        say("log.dirs", data_dir(dir)?, "--data".to_owned());
    }
    if let Some(address) = &args.metrics {
        // The empty value turns it off.
        let value = if address.eq_ignore_ascii_case("off") { "" } else { checked("--metrics", address)? };
        say("metrics.listener", value.to_owned(), "--metrics".to_owned());
    }
    for pair in &args.settings {
        say(&pair.name, pair.value.clone(), "--set".to_owned());
    }
    for (at, one) in said.iter().enumerate() {
        if let Some(other) = said[..at].iter().find(|other| other.name == one.name) {
            return Err(Failure::usage(format!(
                "{} is set twice: by {} and by {}",
                one.name, other.by, one.by
            )));
        }
    }
    Ok(said)
}

/// The full path, so that the log and clients see the same name wherever they are.
fn data_dir(dir: &Path) -> Result<String, Failure> {
    let full = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    match full.to_str().filter(|dir| !dir.contains(',')) {
        Some(dir) => Ok(dir.to_owned()),
        // log.dirs is a list.
        None => Err(Failure::usage(format!(
            "the data directory cannot be {}: it must be UTF-8 without a comma",
            full.display()
        ))),
    }
}

fn listener(flag: &str, address: &str) -> Result<String, Failure> {
    checked(flag, address).map(|address| format!("PLAINTEXT://{address}"))
}

fn checked<'a>(flag: &str, address: &'a str) -> Result<&'a str, Failure> {
    match host_and_port(address) {
        Some(_) => Ok(address),
        None => Err(Failure::usage(format!(
            "{flag} cannot be \"{address}\": it must be HOST:PORT, such as 127.0.0.1:9092{}",
            brackets(address)
        ))),
    }
}

/// Everything that was wrong, each with who said so.
fn refusal(errors: &[ConfigError], all: &[Said]) -> Failure {
    let line = |error: &ConfigError| match said_by(error, all) {
        Some(by) => format!("{error} ({by})"),
        None => error.to_string(),
    };
    match errors {
        [error] => Failure::usage(line(error)),
        errors => {
            let lines: String = errors.iter().map(|error| format!("\n  {}", line(error))).collect();
            Failure::usage(format!("{} settings cannot be used:{lines}", errors.len()))
        }
    }
}

fn said_by<'a>(error: &ConfigError, all: &'a [Said]) -> Option<&'a str> {
    let name = match error {
        ConfigError::Unknown { name, .. } => name.as_str(),
        ConfigError::WrongType { name, .. }
        | ConfigError::OutOfRange { name, .. }
        | ConfigError::NotServed { name, .. }
        | ConfigError::Missing { name, .. }
        | ConfigError::Conflict { name, .. } => name,
        ConfigError::Syntax { .. } => return None,
    };
    // The last one holds.
    all.iter().rev().find(|said| said.name == name).map(|said| said.by.as_str())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: StartArgs,
    }

    fn resolved(arguments: &[&str], file: &str) -> Result<BrokerSettings, Failure> {
        let line = Line::try_parse_from(["start"].iter().chain(arguments)).unwrap();
        let said = |(name, value)| Said { name, value, by: "server.properties".to_owned() };
        resolve(&line.start, parse_properties(file).unwrap().into_iter().map(said).collect())
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_defaults() {
        let here = data_dir(Path::new("ottla-data")).unwrap();
        assert!(here.starts_with('/') && here.ends_with("/ottla-data"));
        let cases: [(&[&str], &str, &str, &str); 14] = [
            (&[], "", "listeners", "PLAINTEXT://127.0.0.1:9092"),
            (&[], "", "log.dirs", &here),
            (&[], "", "metrics.listener", "127.0.0.1:9644"),
            (&[], "listeners=PLAINTEXT://:9092", "listeners", "PLAINTEXT://:9092"),
            (&[], "log.dirs=/a", "log.dirs", "/a"),
            (&["--data", "/b"], "log.dirs=/a", "log.dirs", "/b"),
            (&["--data", "/b"], "log.dir=/a", "log.dirs", "/b"),
            (&["--listen", "0.0.0.0:1"], "listeners=PLAINTEXT://:9092", "listeners", "PLAINTEXT://0.0.0.0:1"),
            (&["--listen", "[::1]:0"], "", "listeners", "PLAINTEXT://[::1]:0"),
            (&["--advertise", "me:1"], "", "advertised.listeners", "PLAINTEXT://me:1"),
            (&["--set", "num.partitions=3"], "num.partitions=2", "num.partitions", "3"),
            (&["--set", "listeners=PLAINTEXT://:1"], "", "listeners", "PLAINTEXT://:1"),
            (&["--metrics", "off"], "metrics.listener=127.0.0.1:1", "metrics.listener", ""),
            (&["--metrics", "127.0.0.1:2"], "", "metrics.listener", "127.0.0.1:2"),
        ];
        for (arguments, file, name, value) in cases {
            let settings = resolved(arguments, file).unwrap();
            assert_eq!(settings.set_value(name), Some(value), "{arguments:?} {file:?}");
        }
        let old_name = resolved(&[], "log.dir=/a").unwrap();
        assert_eq!((old_name.set_value("log.dirs"), old_name.log_dirs()), (None, vec!["/a".to_owned()]));
        assert_eq!(resolved(&["--metrics", "off"], "").unwrap().metrics_listener(), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_who_said_it() {
        let cases: [(&[&str], &str, &str); 11] = [
            (&["--set", "num.partitons=3"], "", "num.partitons (did you mean num.partitions?) (--set)"),
            (
                &[],
                "num.partitions=many",
                "Invalid value many for configuration num.partitions: Not a int (server.properties)",
            ),
            (&["--listen", "9092"], "", "--listen cannot be \"9092\": it must be HOST:PORT"),
            (&["--listen", "::1:9092"], "", "written in brackets, such as [::1]:9092"),
            (&["--listen", "fe80::1"], "", "written in brackets"),
            (
                &[],
                "listeners=PLAINTEXT://::1:9092",
                "PLAINTEXT://::1:9092 is not NAME://host:port: an IPv6 address",
            ),
            (&["--advertise", "0.0.0.0:1"], "", "(--advertise)"),
            (&["--metrics", "here"], "", "--metrics cannot be \"here\""),
            (&["--data", "/a,/b"], "", "the data directory cannot be /a,/b"),
            (&["--data", "/a", "--set", "log.dirs=/b"], "", "log.dirs is set twice: by --data and by --set"),
            (
                &["--set", "a=1", "--set", "b=2"],
                "",
                "2 settings cannot be used:\n  Unknown broker config name: a",
            ),
        ];
        for (arguments, file, what) in cases {
            let failure = resolved(arguments, file).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.what.contains(what), "{arguments:?}: {}", failure.what);
        }
    }
}
