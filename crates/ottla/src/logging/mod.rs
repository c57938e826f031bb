//! The log on stderr: text for people, JSON for machines.
//!
//! Lines go through a bounded queue to a thread of their own ([`writer`]): a terminal that is stopped, or a
//! pipe that nobody reads, must not stop the broker. [`args`]: what may be said about it.

mod args;
mod writer;

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::Failure;
use crate::output;
use args::LogFormat;
pub use args::{LogArgs, LogLevel};
pub use writer::{LogWriter, Logging};

/// How log lines look, once `auto` has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    Text,
    Json,
}

impl Lines {
    /// Text where a person reads, JSON everywhere else.
    fn of(format: LogFormat) -> Lines {
        match format {
            LogFormat::Text => Lines::Text,
            LogFormat::Json => Lines::Json,
            LogFormat::Auto if std::io::stderr().is_terminal() => Lines::Text,
            LogFormat::Auto => Lines::Json,
        }
    }
}

/// Starts logging for a broker. The log is written until what is returned is dropped.
pub fn start(args: &LogArgs) -> Result<(Lines, Logging), Failure> {
    let logging =
        Logging::start().map_err(|error| Failure::failed(format!("no thread for the log: {error}")))?;
    let writer = logging.writer();
    let lines = Lines::of(args.log_format);
    let text = tracing_subscriber::fmt::layer();
    let layer = match lines {
        Lines::Text => text.with_ansi(output::colour_on_stderr()).with_writer(writer).boxed(),
        Lines::Json => text.json().flatten_event(true).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(args.log_level.filter())).init();
    log_panics();
    Ok((lines, logging))
}

/// Starts logging for a command: nothing unless asked for.
pub fn start_quietly(level: &LogLevel) {
    if level.is_off() {
        return;
    }
    let layer =
        tracing_subscriber::fmt::layer().with_ansi(output::colour_on_stderr()).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(layer.with_filter(level.filter())).init();
}

/// A panic ends one task, not the broker: it must be seen in the log, where all else is.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = message(panic.payload()).unwrap_or("no message");
        tracing::error!(
            panic = what,
            at,
            thread = thread.name().unwrap_or_default(),
            "a task has panicked: please report this"
        );
    }));
}

/// What the panic said: `panic!` gives text as one of two types.
fn message(payload: &(dyn std::any::Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
