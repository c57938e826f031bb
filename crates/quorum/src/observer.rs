//! Watches openraft: who leads, when a snapshot is due, which part of the log may be deleted.

use std::sync::Arc;
use std::time::Duration;

use openraft::{RaftMetrics, ServerState};
use ottla_wire::ids::BrokerId;
use tokio::sync::{Notify, watch};

use crate::raft::Raft;
use crate::store::LogStore;
use crate::types::{Leadership, Settings};

/// The parts of the quorum that the observer uses.
pub(crate) struct Observer {
    pub(crate) raft: Raft,
    pub(crate) store: LogStore,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) snapshot_due: Arc<Notify>,
    pub(crate) settings: Settings,
}

/// The epoch that this node leads, and what it must have applied before it says so.
struct Target {
    epoch: u64,
    index: u64,
}

impl Observer {
    /// Runs until openraft stops.
    pub(crate) async fn run(self) {
        let mut metrics = self.raft.metrics();
        let mut target = None;
        let mut snapshot = None;
        loop {
            let now = metrics.borrow_and_update().clone();
            self.publish(leadership(&now, &mut target, self.settings.election_timeout));
            if now.running_state.is_err() {
                return;
            }
            if now.snapshot != snapshot {
                snapshot = now.snapshot;
                self.purge(now.snapshot.map(|id| id.index)).await;
            }
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() {
                    self.publish(Leadership { epoch: now.current_term, ..Leadership::default() });
                    return;
                },
                // An error means that openraft has stopped. The metrics say so next.
                () = self.snapshot_due.notified() => drop(self.raft.trigger().snapshot().await),
            }
        }
    }

    fn publish(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|current| {
            let modified = *current != leadership;
            *current = leadership;
            modified
        });
    }

    async fn purge(&self, snapshot: Option<u64>) {
        let Some(snapshot) = snapshot else { return };
        if let Some(upto) = self.store.purge_point(snapshot, self.settings.keep_bytes) {
            // As above.
            drop(self.raft.trigger().purge_log(upto).await);
        }
    }
}

fn leadership(
    now: &RaftMetrics<BrokerId, ()>,
    target: &mut Option<Target>,
    election_timeout: Duration,
) -> Leadership {
    let epoch = now.current_term;
    if now.running_state.is_err() {
        return Leadership { leader: None, epoch, me: false };
    }
    let me = now.state == ServerState::Leader && {
        // Earlier leaders may have committed entries that a new leader has in its log but has not applied.
        // The end of the log when it is first seen to lead covers them: only its own proposals can follow.
        let target = match target {
            Some(target) if target.epoch == epoch => target,
            _ => target.insert(Target { epoch, index: now.last_log_index.unwrap_or(0) }),
        };
        now.last_applied.is_some_and(|applied| applied.index >= target.index)
            && has_majority(now, election_timeout)
    };
    Leadership { leader: now.current_leader, epoch, me }
}

/// Whether a majority acknowledged this leader recently. If not, it may have been deposed without knowing.
fn has_majority(now: &RaftMetrics<BrokerId, ()>, election_timeout: Duration) -> bool {
    now.membership_config.voter_ids().count() == 1
        || now
            .millis_since_quorum_ack
            .is_some_and(|millis| u128::from(millis) <= election_timeout.as_millis())
}
