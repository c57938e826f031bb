//! Time for tests with real sockets and short time-outs, on machines that may be busy.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{advance, pause};

const TICK: Duration = Duration::from_millis(1);

/// From here on, time passes by a tick for each turn that the runtime gets, and no faster than the clock: a
/// test that the machine holds up for seconds has missed a tick or two, and no time-out. MUST be called once,
/// in a runtime of one thread.
pub fn steady() {
    pause();
    let (tick, mut ticks) = mpsc::channel(1);
    // While this runs, tokio does not skip the time in which there is nothing to do.
    tokio::task::spawn_blocking(move || {
        while tick.blocking_send(()).is_ok() {
            std::thread::sleep(TICK);
        }
    });
    tokio::spawn(async move {
        while ticks.recv().await.is_some() {
            advance(TICK).await;
        }
    });
}
