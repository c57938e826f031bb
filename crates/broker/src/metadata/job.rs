//! A job on the files of partitions: gives some up, opens others. Runs beside the publisher, and reports each
//! partition to it.

use std::sync::Arc;

use ottla_controller::Image;
use ottla_log::FoundPartition;
use ottla_partition::Fate;
use ottla_wire::primitives::Str;
use tokio::sync::{mpsc, oneshot};

use super::holdings::{Job, Leaving, PartitionId};
use super::open::{OpenedPartition, Opener};
use crate::partition::PartitionHandle;
use crate::shard::Mail;

/// The explanation of a stray partition in the log.
const WHILE_AWAY: &str = "this partition was deleted or moved while the broker was away: its folder is set aside, its name \
                          ends in -stray; remove it if nobody needs it";

/// The progress of a job.
pub enum Progress {
    Opened(OpenedPartition),
    /// Everything is done. The files now agree with the metadata log up to here.
    Done {
        index: u64,
    },
    /// A thread has failed, and the partitions it was to open are lost.
    Failed(String),
}

/// Runs the job. `strays` are folders of partitions that this broker does not hold.
pub async fn run(
    opener: Opener,
    (image, index): (Image, u64),
    job: Job<Arc<PartitionHandle>>,
    strays: Vec<FoundPartition>,
    progress: mpsc::Sender<Progress>,
) {
    let outcome = async {
        give_up(&opener, job.give_up.into_iter().collect()).await?;
        set_aside(&opener, strays).await?;
        let open: Vec<(PartitionId, Str)> = job.open.into_iter().collect();
        opener.open_all(&image, open, &progress).await
    };
    let last = match outcome.await {
        Ok(()) => Progress::Done { index },
        Err(why) => Progress::Failed(why),
    };
    // The publisher only ends with the broker.
    let _ending = progress.send(last).await;
}

async fn give_up(
    opener: &Opener,
    leaving: Vec<(PartitionId, Leaving<Arc<PartitionHandle>>)>,
) -> Result<(), String> {
    let (mut retiring, mut closed) = (Vec::new(), Vec::new());
    for ((_, index), Leaving { topic, fate, handle }) in leaving {
        match handle {
            Some(handle) => {
                if fate == Fate::SetAside {
                    tracing::warn!(%topic, partition = index.0, "{WHILE_AWAY}");
                }
                let (done, retired) = oneshot::channel();
                let mail = Mail::Retire { partition: handle.key, fate, done };
                let _stopping = handle.shard.send(mail).await;
                retiring.push(retired);
            }
            None => closed.push((topic, index, fate)),
        }
    }
    for retired in retiring {
        let _stopping = retired.await;
    }
    let dir = opener.dir.clone();
    blocking(closed, move |closed| {
        for (topic, index, fate) in closed {
            let moved = match fate {
                Fate::Delete => dir.delete_closed(&topic, index),
                Fate::SetAside => dir.set_aside(&topic, index).map(drop),
            };
            if let Err(error) = moved {
                tracing::error!(%topic, partition = index.0, %error, "files of a partition that is gone stay behind");
            }
        }
    })
    .await
}

/// Sets aside folders of partitions that this broker does not hold. Their files are kept.
async fn set_aside(opener: &Opener, strays: Vec<FoundPartition>) -> Result<(), String> {
    let dir = opener.dir.clone();
    blocking(strays, move |strays| {
        for stray in strays {
            match dir.set_aside(&stray.topic, stray.partition) {
                Ok(_) => tracing::warn!(topic = stray.topic, partition = stray.partition.0, "{WHILE_AWAY}"),
                Err(error) => {
                    tracing::error!(folder = %stray.path.display(), %error, "a stray partition cannot be set aside");
                }
            }
        }
    })
    .await
}

/// Runs work that may wait for the disk, if there is any.
async fn blocking<T: Send + 'static>(
    things: Vec<T>,
    act: impl FnOnce(Vec<T>) + Send + 'static,
) -> Result<(), String> {
    if things.is_empty() {
        return Ok(());
    }
    tokio::task::spawn_blocking(move || act(things)).await.map_err(|error| error.to_string())
}
