//! Runs a broker: settings, recovery, the banner, and the signal that stops it.

mod args;
mod banner;
mod settings;

use std::time::{Duration, Instant};

use ottla_broker::{Broker, FatalError, StartError};
use ottla_settings::BrokerSettings;
use tokio::runtime::Runtime;

use crate::exit::{Exit, Failure};
use crate::logging::{self, Lines, LogWriter};
use crate::output;
use crate::signals::Signals;
use crate::time::millis;
pub use args::StartArgs;
use banner::Facts;

/// How long threads may take to end once the broker has stopped. What they do by then cannot matter any more.
const THREADS_WAIT: Duration = Duration::from_secs(1);

/// Runs a broker until a signal stops it.
pub fn run(args: StartArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let settings = settings::read(&args)?;
    let (lines, logging) = logging::start(&args.log)?;
    let log = logging.writer();
    let runtime = runtime().map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(Box::pin(serve(settings, began, lines, log)));
    runtime.shutdown_timeout(THREADS_WAIT);
    let outcome = match (outcome, lines) {
        // Where the log is for machines, its last line is the error: nothing else is written among its lines.
        (Err(failure), Lines::Json) => {
            tracing::error!(exit_code = failure.exit.code(), hint = failure.hint, "{}", failure.what);
            Ok(failure.exit)
        }
        (outcome, _) => outcome,
    };
    // What was logged comes before the error that `main` prints.
    drop(logging);
    outcome
}

fn runtime() -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_name("ottla")
        .enable_all()
        .build()
}

async fn serve(
    settings: BrokerSettings,
    began: Instant,
    lines: Lines,
    log: LogWriter,
) -> Result<Exit, Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let broker = tokio::select! {
        started = Box::pin(Broker::start(settings)) => started?,
        signal = signals.next() => {
            // As after a kill: what was not recovered yet is recovered at the next start.
            tracing::info!(signal, "stopped before the broker was ready");
            return Ok(Exit::Clean);
        }
    };
    announce(&broker, began, lines, &log);
    let signal = tokio::select! {
        fatal = broker.failed() => return Err(fatal.into()),
        signal = signals.next() => signal,
    };
    tracing::info!(signal, "stopping; a second signal hurries");
    let stopping = Instant::now();
    let hurry = async move {
        signals.next().await;
    };
    Box::pin(broker.shutdown(hurry))
        .await
        .map_err(|error| Failure::failed(format!("not stopped cleanly: {error}")))?;
    tracing::info!(after_ms = millis(stopping.elapsed()), "stopped");
    Ok(Exit::Clean)
}

fn announce(broker: &Broker, began: Instant, lines: Lines, log: &LogWriter) {
    let facts = Facts {
        program: std::env::args().next().unwrap_or_else(|| "ottla".to_owned()),
        version: env!("CARGO_PKG_VERSION"),
        ready_after: began.elapsed(),
        listening: broker
            .listening()
            .iter()
            .map(|one| (one.listener.clone(), one.addr, one.advertised.clone()))
            .collect(),
        metrics: broker.metrics_addr(),
        data: broker.data_dir().to_owned(),
        cluster_id: broker.cluster_id().to_owned(),
        node_id: broker.node_id(),
    };
    match lines {
        Lines::Text => log.line(facts.to_text(output::colour_on_stderr())),
        Lines::Json => facts.log(),
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        let exit = match &error {
            StartError::Settings(_) => Exit::Usage,
            // The metadata log is a folder of the data directory.
            StartError::DataDir(_)
            | StartError::Kafkas { .. }
            | StartError::ForeignPartitions { .. }
            | StartError::Quorum(_) => Exit::DataDirectory,
            StartError::Bind(_) | StartError::BindMetrics { .. } => Exit::Address,
            StartError::Join(_) | StartError::Io { .. } => Exit::Failed,
        };
        let hint = match &error {
            StartError::Bind(_) => Some("--listen HOST:PORT (listeners) chooses another address"),
            StartError::BindMetrics { .. } => {
                Some("--metrics HOST:PORT chooses another address, --metrics off does without")
            }
            _ => None,
        };
        Failure { hint: hint.map(str::to_owned), ..Failure::new(exit, error) }
    }
}

impl From<FatalError> for Failure {
    fn from(error: FatalError) -> Failure {
        let failure = Failure::failed(&error);
        match error {
            FatalError::Task(_) => failure.hint(
                "this is a fault of the program, and worth a report; what was acknowledged is there at the next start",
            ),
            FatalError::Metadata(_) | FatalError::MetadataLog | FatalError::DataDirs(_) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_cannot_go_on_ends_with_a_code_and_a_reason() {
        for (error, says) in [
            (
                FatalError::Task("shard 0 panicked".into()),
                "a part of the broker has failed: shard 0 panicked",
            ),
            (
                FatalError::Metadata("of the future".into()),
                "the metadata log cannot be applied: of the future",
            ),
            (FatalError::MetadataLog, "the metadata log has stopped"),
            (FatalError::DataDirs("no space".into()), "every data directory has failed: no space"),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.exit, Exit::Failed, "{failure:?}");
            assert_ne!(failure.exit.code(), Exit::Clean.code());
            assert!(failure.what.starts_with(says), "{failure:?}");
        }
    }
}
