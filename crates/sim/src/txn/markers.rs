//! Markers on their way to partitions, and their answers back.

use ottla_partition::MarkerRequest;
use ottla_txn::{MarkerOutcome, MarkersAnswer, WriteMarkers};
use ottla_wire::{ErrorCode, Instant, PartitionIndex};

use super::TxnMutation;
use super::wire;
use super::world::{Event, Gathering, PATIENCE, World};

impl World<'_> {
    pub(super) fn send_markers(&mut self, asked: WriteMarkers) {
        let gathering = self.next_count();
        let partitions: Vec<usize> =
            asked.partitions.iter().map(|(topic, p)| wire::number(topic, p)).collect();
        let answer = MarkersAnswer {
            transactional_id: asked.transactional_id,
            token: asked.token,
            partitions: Vec::new(),
        };
        let (term, left) = (self.coordinator.term(), partitions.len());
        self.gatherings.insert(gathering, Gathering { term, answer, left });
        let marker = MarkerRequest {
            producer: asked.producer,
            commit: asked.outcome.is_commit(),
            coordinator_epoch: asked.coordinator_epoch.0,
            transaction_version: asked.transaction_version.level() as i8,
            deadline: Instant(u64::MAX),
        };
        for partition in partitions {
            self.send_marker(partition, marker, gathering);
        }
    }

    /// One marker: lost, written without the answer being heard, or written; and perhaps once more, much
    /// later.
    fn send_marker(&mut self, partition: usize, marker: MarkerRequest, gathering: u64) {
        let delay = self.rng.millis(1, 40);
        let chaotic = self.is_chaotic();
        if chaotic && self.rng.chance(150) {
            let trusts = self.mutation == Some(TxnMutation::TrustMarkers);
            let outcome = if trusts { MarkerOutcome::Done } else { MarkerOutcome::Retry };
            self.queue.plan(self.now + PATIENCE, Event::MarkerAnswered { gathering, partition, outcome });
        } else {
            let heard = !(chaotic && self.rng.chance(150));
            self.queue.plan(
                self.now + delay,
                Event::Marker { partition, marker, gathering: Some(gathering), heard },
            );
        }
        if self.late && chaotic && self.rng.chance(200) {
            let delay = self.rng.millis(40, 4000);
            self.queue
                .plan(self.now + delay, Event::Marker { partition, marker, gathering: None, heard: false });
        }
    }

    pub(super) fn write_marker(
        &mut self,
        partition: usize,
        marker: &MarkerRequest,
        gathering: Option<u64>,
        heard: bool,
    ) -> Result<(), String> {
        let turn = self.broker_turn();
        let written = self.partition(partition).write_marker(turn, marker)?;
        self.trace.note(self.now, format_args!("  {written:?}"));
        let Some(gathering) = gathering else { return Ok(()) };
        let outcome = match written {
            _ if !heard => MarkerOutcome::Retry,
            Ok(_) => MarkerOutcome::Done,
            Err(why) => MarkerOutcome::from(ErrorCode::from(why)),
        };
        let pause = if heard { self.rng.millis(1, 40) } else { PATIENCE };
        self.queue.plan(self.now + pause, Event::MarkerAnswered { gathering, partition, outcome });
        Ok(())
    }

    pub(super) fn marker_answered(
        &mut self,
        gathering: u64,
        partition: usize,
        outcome: MarkerOutcome,
    ) -> Result<(), String> {
        let Some(gathered) = self.gatherings.get_mut(&gathering) else { return Ok(()) };
        let (topic, index) = wire::place(partition);
        gathered.answer.partitions.push((topic, PartitionIndex(index), outcome));
        gathered.left -= 1;
        if gathered.left > 0 {
            return Ok(());
        }
        let Some(Gathering { term, answer, .. }) = self.gatherings.remove(&gathering) else { return Ok(()) };
        if term != self.coordinator.term() {
            return Ok(()); // who asked has failed
        }
        let at = self.moment();
        self.coordinator.act(|core, out| core.markers_answered(&at, &answer, out));
        self.follow_up()
    }
}
