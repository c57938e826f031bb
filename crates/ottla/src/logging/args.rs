//! What may be said about the log.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// What is logged to stderr, and how.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Log lines: text, json, or auto (text at a terminal, json otherwise)
    #[arg(long, value_enum, default_value_t = LogFormat::Auto, env = "OTTLA_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// off, error, warn, info, debug or trace; for single parts too: info,ottla_net=debug
    #[arg(long, value_name = "LEVEL", default_value = "info,openraft=warn", env = "OTTLA_LOG_LEVEL")]
    pub log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
    Auto,
}

/// What is logged, as `--log-level` takes it: a level, or one for each part of the program. It means the same
/// to a broker and to a command; only the default differs.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLevel(Targets);

impl LogLevel {
    pub fn filter(&self) -> Targets {
        self.0.clone()
    }

    /// Whether nothing at all is to be logged.
    pub fn is_off(&self) -> bool {
        self.0.default_level() == Some(LevelFilter::OFF) && self.0.iter().next().is_none()
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<LogLevel, &'static str> {
        const FORM: &str =
            "it must be off, error, warn, info, debug or trace; for single parts: info,ottla_net=debug";
        // A lone word that is no level would be taken for the name of a part, and log everything of it.
        let is_level = |item: &str| {
            let level = item.rsplit('=').next().unwrap_or_default();
            !level.is_empty() && level.parse::<LevelFilter>().is_ok()
        };
        match text.split(',').all(is_level) {
            true => text.parse().map(LogLevel).map_err(|_| FORM),
            false => Err(FORM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        for good in ["info", "DEBUG", "warn,ottla_net=debug", "ottla_log=trace", "off,ottla_net=info"] {
            assert!(good.parse::<LogLevel>().is_ok_and(|level| !level.is_off()), "{good}");
        }
        for wrong in ["", "loud", "info,", "info,ottla_net", "info,ottla_net=loud"] {
            assert!(wrong.parse::<LogLevel>().is_err(), "{wrong}");
        }
        assert_eq!("off".parse::<LogLevel>().map(|level| level.is_off()), Ok(true));
    }
}
