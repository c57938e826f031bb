//! Reads that may wait for a disk, away from the threads that serve connections.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The most reads that wait for disks at the same time. It keeps a disk busy. If a disk stops answering, most
/// of the runtime's blocking threads remain for others, such as the metadata log.
const COLD_READS_MAX: usize = 32;

/// The most searches in logs at the same time. Each may unpack a batch of up to
/// [`decompressed_bytes_max`](crate::context::Limits::decompressed_bytes_max).
const SEARCHES_MAX: usize = 4;

/// Reads of one kind. A limited number of them run at the same time.
pub struct ColdReads {
    turns: Arc<Semaphore>,
}

impl ColdReads {
    /// For reads of bytes that are not in memory.
    pub fn of_fetches() -> ColdReads {
        ColdReads { turns: Arc::new(Semaphore::new(COLD_READS_MAX)) }
    }

    /// For reads that look into batches, in memory or not.
    pub fn of_searches() -> ColdReads {
        ColdReads { turns: Arc::new(Semaphore::new(SEARCHES_MAX)) }
    }

    /// Runs `read` on a thread that may block, when its turn comes.
    pub async fn run<T, E>(&self, read: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await.map_err(io::Error::other)?;
        let read = move || {
            let _turn = turn; // held by the thread, because the caller may be gone before the disk answers
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

    /// An abandoned read keeps its turn until the disk answers.
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
