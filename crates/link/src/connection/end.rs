//! How a connection ends.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it, between two answers.
    ClosedByPeer,
    /// The system says that it is broken: reset by the peer, cut off within an answer, no route.
    Broken(String),
    /// The peer did not answer, or took nothing, within the time that a request has.
    Late,
    /// The peer sent what is no answer.
    Garbled(String),
    /// It was not used for `connections.max.idle.ms`.
    Idle,
    /// Nobody has it any more.
    Unused,
}

impl End {
    /// Whether the peer, or its system, has said that the peer is gone. A hint that it is dead; it may as
    /// well only have closed this one connection.
    pub fn is_by_peer(&self) -> bool {
        match self {
            End::ClosedByPeer | End::Broken(_) => true,
            End::Late | End::Garbled(_) | End::Idle | End::Unused => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::ClosedByPeer => f.write_str("the broker closed it"),
            End::Broken(reason) | End::Garbled(reason) => f.write_str(reason),
            End::Late => f.write_str("an answer was late"),
            End::Idle => f.write_str("it was idle"),
            End::Unused => f.write_str("nobody uses it any more"),
        }
    }
}

/// Tells how a connection ended, once it has. Does not keep it open.
#[derive(Clone, Debug)]
pub struct EndWatch(Arc<Ending>);

impl EndWatch {
    pub(super) fn new(ending: Arc<Ending>) -> EndWatch {
        EndWatch(ending)
    }

    /// Waits for the end.
    pub async fn ended(&self) -> End {
        self.0.come().await
    }
}

/// The end of a connection that is to come. The first reason stays.
#[derive(Debug, Default)]
pub(super) struct Ending(watch::Sender<Option<End>>);

impl Ending {
    /// Asks the task of the connection to end.
    pub(super) fn ask(&self, end: End) {
        self.0.send_if_modified(|known| {
            let is_first = known.is_none();
            if is_first {
                *known = Some(end);
            }
            is_first
        });
    }

    /// Whether the connection has ended or has been asked to.
    pub(super) fn has_come(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// The reason, if there is one.
    pub(super) fn reason(&self) -> Option<End> {
        self.0.borrow().clone()
    }

    pub(super) async fn come(&self) -> End {
        let mut watch = self.0.subscribe();
        loop {
            if let Some(end) = self.reason() {
                return end;
            }
            // The sender is this very value, so it cannot be gone.
            let _ = watch.changed().await;
        }
    }
}
