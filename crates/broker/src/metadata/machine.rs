//! The state machine of the metadata log: keeps the image, and notes records for the publisher.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_controller::Image;
use ottla_quorum::StateMachine;
use ottla_wire::messages::MetadataRecord;
use tokio::sync::Notify;

/// The image according to the metadata log on this node.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub image: Image,
    pub index: u64,
}

/// The news of the metadata log since the publisher last looked.
#[derive(Debug, Default)]
pub struct News {
    /// All earlier state is void. `records` build the image from nothing.
    pub restart: bool,
    pub records: Vec<MetadataRecord>,
    pub index: u64,
    /// The log holds something that this node does not understand. It MUST stop.
    pub broken: Option<String>,
}

/// The machine puts news here, and the publisher takes them. Holds no more than was applied since the last
/// look.
#[derive(Default)]
pub struct Inbox {
    news: Mutex<News>,
    came: Notify,
}

impl Inbox {
    /// Waits for news and takes them.
    pub async fn take(&self) -> News {
        self.came.notified().await;
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the log cannot be applied, if what was left and not taken yet says so.
    fn broken(&self) -> Option<String> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).broken.clone()
    }

    fn leave(&self, note: impl FnOnce(&mut News)) {
        note(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.came.notify_one();
    }
}

/// Applies the records of the metadata log in order.
pub struct Machine {
    applied: Arc<ArcSwap<Applied>>,
    inbox: Arc<Inbox>,
}

impl Machine {
    pub fn new(applied: Arc<ArcSwap<Applied>>, inbox: Arc<Inbox>) -> Machine {
        Machine { applied, inbox }
    }

    fn take(&mut self, base: Image, index: u64, frames: Vec<Bytes>, restart: bool) {
        let read = read(frames).and_then(|records| {
            let (image, _delta) = base.apply_all(&records).map_err(|error| error.to_string())?;
            Ok((image, records))
        });
        match read {
            Ok((image, records)) => {
                self.applied.store(Arc::new(Applied { image, index }));
                self.inbox.leave(|news| {
                    if restart {
                        news.restart = true;
                        news.records.clear();
                    }
                    news.records.extend(records);
                    news.index = index;
                });
            }
            Err(why) => {
                tracing::error!(index, why, "the metadata log holds what this node cannot apply");
                self.inbox.leave(|news| news.broken = Some(why));
            }
        }
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, index: u64, records: Vec<Bytes>) {
        self.take(self.applied.load().image.clone(), index, records, false);
    }

    fn check(&self, proposals: &mut dyn Iterator<Item = Vec<Bytes>>) -> Result<(), String> {
        if let Some(why) = self.inbox.broken() {
            return Err(why);
        }
        let mut image = self.applied.load().image.clone();
        for frames in proposals {
            image = image.apply_all(&read(frames)?).map_err(|error| error.to_string())?.0;
        }
        Ok(())
    }

    fn snapshot(&self) -> Vec<Bytes> {
        let records = self.applied.load().image.to_records();
        let frames: Result<Vec<Bytes>, _> = records.iter().map(MetadataRecord::to_frame).collect();
        match frames {
            Ok(frames) => frames,
            Err(error) => unreachable!("an image consists of records that were read, and {error}"),
        }
    }

    fn restore(&mut self, index: u64, records: Vec<Bytes>) {
        self.take(Image::default(), index, records, true);
    }
}

fn read(frames: Vec<Bytes>) -> Result<Vec<MetadataRecord>, String> {
    let read = |frame| MetadataRecord::from_frame(frame).map_err(|error| error.to_string());
    frames.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a later release has written is found before anything is applied.
    #[test]
    fn what_is_not_understood_is_found_by_looking() {
        let mut machine = Machine::new(Arc::default(), Arc::default());
        let unknown = || vec![Bytes::from_static(b"\x01\xff\x7f\0")];
        assert_eq!(machine.check(&mut [Vec::new()].into_iter()), Ok(()));
        assert!(machine.check(&mut [Vec::new(), unknown()].into_iter()).is_err());
        machine.restore(1, unknown());
        assert!(machine.check(&mut std::iter::empty()).is_err(), "a snapshot is looked at, too");
    }
}
