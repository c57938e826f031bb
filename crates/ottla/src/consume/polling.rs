//! What reading alone and as a member have in common: how long a poll waits, what becomes of one that fails,
//! and writing.

use std::io;
use std::time::{Duration, Instant};

use ottla_client::Error;
use tokio::io::AsyncWriteExt;

use super::args::ConsumeArgs;
use crate::exit::Failure;
use crate::output::complain;

/// How long one poll waits for records.
pub const POLL_WAIT: Duration = Duration::from_millis(500);

/// How long polls may fail without a record in between.
pub struct Patience {
    /// `None`: for ever.
    limit: Option<Duration>,
    progress: Instant,
    complaint: String,
}

impl Patience {
    /// Who follows the log waits for a broker that is away; who reads up to its end does so for the timeout.
    pub fn of(args: &ConsumeArgs) -> Patience {
        let limit = (!args.follows()).then_some(args.cluster.timeout);
        Patience { limit, progress: Instant::now(), complaint: String::new() }
    }

    /// Records have come.
    pub fn renew(&mut self) {
        (self.progress, self.complaint) = (Instant::now(), String::new());
    }

    /// Complains of an error that may pass. One that will not, or has not in time, is the end.
    pub fn bear(&mut self, error: Error) -> Result<(), Failure> {
        let is_over = self.limit.is_some_and(|limit| self.progress.elapsed() >= limit);
        if !error.is_retriable() || is_over {
            return Err(error.into());
        }
        // Once, and not each time that it is tried again.
        let text = format!("warning: {error}; trying again\n");
        if text != self.complaint {
            complain(&text);
            self.complaint = text;
        }
        Ok(())
    }
}

/// Writes to stdout. `false`: nobody reads it any more (`| head`), which is no error.
pub async fn write(out: &mut tokio::io::Stdout, text: &[u8]) -> Result<bool, Failure> {
    if text.is_empty() {
        return Ok(true);
    }
    let written = async {
        out.write_all(text).await?;
        out.flush().await
    };
    match written.await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}
