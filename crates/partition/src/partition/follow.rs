//! Cuts a leader's answer to what the log can take at once.

use bytes::Bytes;
use ottla_log::Writer;
use ottla_replica::{Event, LeaderAnswer, LeaderReply};
use ottla_wire::batch::BatchHeader;

use super::{Partition, Turn};

impl<W, D> Partition<W, D> {
    /// The answer to a [`Wish::Fetch`](super::Wish::Fetch).
    ///
    /// No segment can start inside a run: the core is already past the run when its batches get to the log,
    /// and a snapshot of its producers would have the wrong offset. So a segment starts before the run, and
    /// only the part that fits into it is taken. The rest is fetched again.
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

    /// The number of bytes of a run that fit into the current segment. The first batch always does. Bytes
    /// that do not parse as a batch are included: the core judges them.
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
