//! Carries log lines to stderr from a thread of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait. Beyond that lines are lost and counted: working goes before logging.
const LINES_MAX: usize = 4096;

/// How long the end of the process waits for the last lines to be taken.
const LAST_LINES_WAIT: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    /// Everything before it has been written when this is answered.
    End(SyncSender<()>),
}

/// Writes the log as long as it lives; dropping it waits for what is queued, though not for long.
pub struct Logging {
    writer: LogWriter,
}

/// Where lines go in.
#[derive(Clone)]
pub struct LogWriter {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

impl Logging {
    pub fn start() -> io::Result<Logging> {
        Logging::to(io::stderr())
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Logging> {
        let (queue, items) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = LogWriter { queue, lost: lost.clone() };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(out, &items, &lost))?;
        Ok(Logging { writer })
    }

    pub fn writer(&self) -> LogWriter {
        self.writer.clone()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let (done, wait) = sync_channel(1);
        // With a full queue nobody reads stderr: there is nothing to wait for.
        if self.writer.queue.try_send(Item::End(done)).is_ok() {
            let _ = wait.recv_timeout(LAST_LINES_WAIT);
        }
    }
}

impl LogWriter {
    /// Queues text that is written as it is.
    pub fn line(&self, text: impl Into<Vec<u8>>) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Line(text.into())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for LogWriter {
    /// The formatter writes each event with one call.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        self.clone()
    }
}

/// Nothing can be done, or told to anybody, when stderr fails.
fn write_all(mut out: impl Write, items: &Receiver<Item>, lost: &AtomicU64) {
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(line) => drop(out.write_all(&line)),
            Item::End(done) => drop(done.send(())),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "{lost} lines of the log were lost: stderr was not read fast enough");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_queued_is_written_before_the_end() {
        let screen = Screen::default();
        let logging = Logging::to(screen.clone()).unwrap();
        let writer = logging.writer();
        for i in 0..100 {
            writer.line(format!("{i}\n"));
        }
        drop(logging);
        let written = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 100);
    }

    #[test]
    fn a_stopped_terminal_costs_lines_and_no_waiting() {
        let screen = Screen::default();
        let logging = Logging::to(screen.clone()).unwrap();
        let writer = logging.writer();
        let stopped = screen.0.lock().unwrap();
        // One may be with the thread already.
        for _ in 0..LINES_MAX + 11 {
            writer.line("x\n");
        }
        assert!(writer.lost.load(Ordering::Relaxed) >= 10);
        drop(stopped);
        while writer.lost.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        drop(logging);
        let written = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert!(written.contains("lines of the log were lost"), "{written}");
    }
}
