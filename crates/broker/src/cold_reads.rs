//! Reads that wait for a disk, away from the threads that serve connections.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Reads that wait for disks at the same time. A disk serves so many at once, and one that has stopped
/// answering leaves most of the runtime's blocking threads to the others: the metadata log needs them as
/// well.
const COLD_READS_MAX: usize = 32;

/// Searches in logs at the same time: each may have a batch unpacked, of up to
/// [`decompressed_bytes_max`](crate::context::Limits::decompressed_bytes_max).
const SEARCHES_MAX: usize = 4;

/// Reads of one kind, of which only so many run at the same time.
pub struct ColdReads {
    turns: Arc<Semaphore>,
}

impl ColdReads {
    /// Reads of what is not in memory.
    pub fn of_fetches() -> ColdReads {
        ColdReads { turns: Arc::new(Semaphore::new(COLD_READS_MAX)) }
    }

    /// Reads that look into batches, in memory or not.
    pub fn of_searches() -> ColdReads {
        ColdReads { turns: Arc::new(Semaphore::new(SEARCHES_MAX)) }
    }

    /// Runs `read` on a thread that may wait, when it is its turn.
    pub async fn run<T, E>(&self, read: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await.map_err(io::Error::other)?;
        let read = move || {
            let _turn = turn; // held by the thread: whoever asked may be gone before the disk answers
            read()
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    /// A read that nobody waits for any more keeps its turn until the disk lets it go.
    #[tokio::test]
    async fn reads_that_are_stuck_are_bounded() {
        let reads = ColdReads::of_fetches();
        let mut stuck = Vec::new();
        for _ in 0..COLD_READS_MAX {
            let (release, held) = mpsc::channel::<()>();
            let mut read = Box::pin(reads.run(move || {
                let _released = held.recv();
                Ok::<_, io::Error>(())
            }));
            poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await;
            stuck.push(release);
        }
        let mut next = pin!(reads.run(|| Ok::<_, io::Error>(7)));
        assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
        assert_eq!(reads.turns.available_permits(), 0);
        stuck.pop();
        assert_eq!(next.await.unwrap(), 7);
    }
}
