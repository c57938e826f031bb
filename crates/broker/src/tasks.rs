//! Tasks that the broker cannot do without. Each has a name, and its panic ends the broker with a reason.
//! Otherwise a broker without it would still call itself ready.

use std::thread;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::FatalError;

/// Starts tasks. Clones report panics to the same place.
#[derive(Clone)]
pub struct Tasks {
    fatal: watch::Sender<Option<FatalError>>,
}

impl Tasks {
    pub fn new() -> Tasks {
        Tasks { fatal: watch::Sender::new(None) }
    }

    /// Starts a task. MUST be called within a tokio runtime.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let watched = Watched { name: name.into(), fatal: self.fatal.clone() };
        tokio::spawn(async move {
            let _watched = watched;
            task.await
        })
    }

    /// Resolves when a task has panicked.
    pub async fn failed(&self) -> FatalError {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await.map(|fatal| fatal.clone()) {
            Ok(Some(fatal)) => fatal,
            // `self` holds a sender.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Dropped with its task, however that ends.
struct Watched {
    name: String,
    fatal: watch::Sender<Option<FatalError>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let why = format!("{} panicked; the log above says where", self.name);
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            fatal.get_or_insert(FatalError::Task(why));
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn only_a_panic_ends_the_broker_and_the_first_one_is_the_reason() {
        let tasks = Tasks::new();
        tasks.spawn("one that ends", async {}).await.unwrap();
        let stopped = tasks.spawn("one that is stopped", std::future::pending::<()>());
        stopped.abort();
        assert!(stopped.await.unwrap_err().is_cancelled());
        assert!(tokio::time::timeout(Duration::ZERO, tasks.failed()).await.is_err());
        for name in ["shard 0", "shard 1"] {
            let panicked = tasks.spawn::<()>(name, async { panic!("on purpose") });
            assert!(panicked.await.unwrap_err().is_panic());
        }
        let fatal = tokio::time::timeout(PATIENCE, tasks.failed()).await.unwrap();
        assert_eq!(fatal, FatalError::Task("shard 0 panicked; the log above says where".into()));
    }
}
