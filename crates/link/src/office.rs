//! Asking whoever holds an office, which moves from broker to broker: that of the controller, or of the
//! coordinator of a group or of a transactional id.
//!
//! An [`Office`] says how its holder is found and what an error means; [`Office::ask`] does the rest, in the
//! same way whether the holder is a connection away or a task in this process.

use std::future::Future;
use std::time::Duration;

use crate::seam::{self, Instant};

/// An office that one broker of the cluster holds at a time.
pub trait Office: Sync {
    /// The way to the holder: a connection, or the queue of a task here.
    type Holder: Send;
    type Error: Send;

    /// The way to the holder; looks for it if it is not known. Does not try again.
    fn find(&self) -> impl Future<Output = Result<Self::Holder, Self::Error>> + Send;

    /// Whether an error says that the holder is not who it was thought to be, or cannot be reached.
    fn has_moved(&self, error: &Self::Error) -> bool;

    /// Whether the holder may be found a while after this error of [`Office::find`].
    fn may_be_found(&self, error: &Self::Error) -> bool;

    /// The next [`Office::find`] MUST look for the holder anew.
    fn forget(&self);

    /// How long to wait after this error, the `failures`th in a row, before asking again.
    fn pause(&self, error: &Self::Error, failures: u32) -> Duration;

    /// What the caller is told if time is over and nothing else is known.
    fn late(&self, after: Duration) -> Self::Error;

    /// Asks the holder until it answers or fails in a way after which `may_repeat` does not want to ask
    /// again; finds it anew when it has moved. When `deadline` is near, the last error is given.
    ///
    /// `attempt` MUST end by the deadline by itself: only it knows whether its request was sent.
    fn ask<T, F>(
        &self,
        deadline: Instant,
        may_repeat: impl Fn(&Self::Error) -> bool + Send + Sync,
        attempt: impl Fn(Self::Holder) -> F + Send + Sync,
    ) -> impl Future<Output = Result<T, Self::Error>> + Send
    where
        T: Send,
        F: Future<Output = Result<T, Self::Error>> + Send,
    {
        async move {
            let (began, mut last) = (seam::now(), None);
            for failures in 1.. {
                let late = || self.late(deadline.saturating_duration_since(began));
                let found = match tokio::time::timeout_at(deadline, self.find()).await {
                    Ok(found) => found,
                    Err(_) => return Err(last.unwrap_or_else(late)),
                };
                let (repeat, error) = match found {
                    Ok(holder) => match attempt(holder).await {
                        Ok(done) => return Ok(done),
                        Err(error) => (may_repeat(&error), error),
                    },
                    Err(error) => (self.may_be_found(&error), error),
                };
                if self.has_moved(&error) {
                    self.forget();
                }
                let again = seam::now() + self.pause(&error, failures);
                if !repeat || again >= deadline {
                    return Err(error);
                }
                last = Some(error);
                tokio::time::sleep_until(again).await;
            }
            unreachable!("the attempts have no end")
        }
    }
}
