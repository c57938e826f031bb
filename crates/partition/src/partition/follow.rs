//! What a leader's answer brings, cut to what the log takes at once.

use bytes::Bytes;
use ottla_log::Writer;
use ottla_replica::{Event, LeaderAnswer, LeaderReply};
use ottla_wire::batch::BatchHeader;

use super::{Partition, Turn};

impl<W, D> Partition<W, D> {
    /// The answer to a [`Wish::Fetch`](super::Wish::Fetch).
    ///
    /// In the middle of a run no segment can be started: the core is past it when the log gets to it, and a
    /// snapshot of its producers would be of the wrong offset. So one is started before, and of the run as
    /// much is taken as goes into it; the rest is fetched again.
    pub fn leader_answered(&mut self, turn: Turn, mut answer: LeaderAnswer) {
        if let LeaderReply::Records { records, .. } = &mut answer.reply {
            let has_room = self.has_room_for_run(turn, records);
            let fits = self.fitting(turn, records);
            records.truncate(fits);
            if !has_room {
                answer.reply = LeaderReply::Failed;
            }
        }
        self.step(turn, Event::LeaderAnswered(answer));
    }

    /// Makes room for a run, in the log and on the disk.
    fn has_room_for_run(&mut self, turn: Turn, records: &Bytes) -> bool {
        let Ok(first) = BatchHeader::parse(records) else { return true };
        if first.base_offset < self.log.log_end() || self.failure.is_some() {
            return true;
        }
        // What coordinators have written elsewhere is copied as long as they may write here.
        let writer = if self.lodgers.keeps_markers { Writer::Broker } else { Writer::Client };
        self.log.room().take(records.len() as u64, writer) && self.roll_for(turn, &first)
    }

    /// How many bytes of a run go into the segment that grows. The first batch always does. What cannot be
    /// read as a batch goes along: the core judges it.
    fn fitting(&mut self, turn: Turn, records: &Bytes) -> usize {
        let mut at = 0;
        while let Ok(header) = BatchHeader::parse(&records[at..]) {
            let next = at.saturating_add(header.total_len());
            if next > records.len() {
                break;
            }
            if at > 0 && self.log.roll_due_behind(at as u64, &header, turn.wall) {
                return at;
            }
            at = next;
        }
        records.len()
    }
}
