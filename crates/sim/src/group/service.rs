//! The broker's side of the world: requests come in and answers go out, the log is written and replicated,
//! and one broker follows the other.

use std::time::Duration;

use ottla_coordinator::{Producer, Ticket};
use ottla_group::{Call, Caller, Reply, Request, Response, Topics};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Offset, ProducerEpoch, ProducerId};

use super::invariants::Scene;
use super::member::RequestId;
use super::mutation::Mutation;
use super::words::asked;
use super::world::{Event, Letter, World};
use crate::invariants::Broken;

/// How long a transaction may last.
const TRANSACTION_MAX: Duration = Duration::from_secs(6);

impl World<'_> {
    pub(super) fn arrive(&mut self, letter: Letter) -> Result<(), Broken> {
        let Letter { process, sent, repeated } = letter;
        let (connection, newest) = self.seen.entry(process).or_insert((sent.connection, sent.id));
        // A connection that is closed says nothing more, and none says again what lies behind what it has
        // said since.
        if sent.connection < *connection || (repeated && sent.id < *newest) {
            return Ok(());
        }
        (*connection, *newest) = (sent.connection, sent.id.max(*newest));
        let Some(request) = self.check(process, sent.request, sent.id) else { return Ok(()) };
        let caller = Caller {
            client_id: Str::from_static("sim"),
            client_host: Str::from_static("/host"),
            version: sent.version,
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, (process, sent.id));
        let at = self.moment();
        let deletes = matches!(request, Request::OffsetDelete(_) | Request::DeleteGroup(_));
        let call = Call { caller, request: request.clone() };
        if let Err(refusal) = self.host.handle(&at, ticket, call) {
            self.waiting.remove(&ticket);
            self.answer(process, sent.id, request.refuse(ErrorCode::from(refusal)));
            return Ok(());
        }
        self.after_step(deletes)
    }

    /// An administrator asks; nobody waits for the answer.
    pub(super) fn ask(&mut self, request: Request) -> Result<(), Broken> {
        self.trace.note(self.now, format_args!("the administrator asks {}", asked(&request)));
        self.tickets += 1;
        let at = self.moment();
        let call = Call { caller: Caller::default(), request };
        match self.host.handle(&at, Ticket(self.tickets), call) {
            Ok(()) => self.after_step(true),
            Err(_) => Ok(()),
        }
    }

    /// What the broker checks before the coordinator is asked: topics exist, transactions are open.
    pub(super) fn check(&mut self, process: u64, request: Request, id: RequestId) -> Option<Request> {
        match request {
            Request::OffsetCommit(mut request) => {
                request.topics.retain(|topic| self.topics.by_name(&topic.name).is_some());
                if self.mutation == Some(Mutation::CommitUnfenced) {
                    self.unfence(&mut request);
                }
                Some(Request::OffsetCommit(request))
            }
            Request::TxnOffsetCommit(mut request) => {
                request.topics.retain(|topic| self.topics.by_name(&topic.name).is_some());
                let producer = Producer {
                    id: ProducerId(request.producer_id),
                    epoch: ProducerEpoch(request.producer_epoch),
                };
                if !self.transactions.is_open(producer) {
                    let refused = Request::TxnOffsetCommit(request).refuse(ErrorCode::InvalidTxnState);
                    self.answer(process, id, refused);
                    return None;
                }
                self.queue.plan(self.now + TRANSACTION_MAX, Event::TransactionExpires(producer));
                Some(Request::TxnOffsetCommit(request))
            }
            Request::ConsumerGroupHeartbeat(mut request) => {
                if self.mutation == Some(Mutation::TrustRevocations) && request.member_epoch > 0 {
                    request.topic_partitions = Some(Vec::new());
                }
                Some(Request::ConsumerGroupHeartbeat(request))
            }
            other => Some(other),
        }
    }

    pub(super) fn answer(&mut self, process: u64, id: RequestId, mut response: Response) {
        if self.mutation == Some(Mutation::HideRebalances)
            && let Response::Heartbeat(response) = &mut response
            && response.error_code == ErrorCode::RebalanceInProgress.code()
        {
            response.error_code = ErrorCode::None.code();
        }
        if let Some(delay) = self.chaos.carry(&mut self.rng) {
            let response = Box::new(response);
            self.queue.plan(self.now + delay, Event::Answer { process, id, response });
        }
    }

    /// The coordinator had its turn.
    pub(super) fn after_step(&mut self, deletes: bool) -> Result<(), Broken> {
        self.observe(deletes)?;
        self.release();
        if !self.append_planned {
            self.append_planned = true;
            let at = self.now + self.rng.millis(0, 1);
            self.queue.plan(at, Event::Append { term: self.host.term() });
        }
        self.plan_tick();
        Ok(())
    }

    fn plan_tick(&mut self) {
        if let Some(due) = self.host.next_deadline() {
            self.queue.plan(due.max(self.now), Event::Tick { term: self.host.term() });
        }
    }

    /// The broker ends its turn: what the coordinator has written is appended, and what may leave does.
    pub(super) fn end_turn(&mut self) -> Result<(), Broken> {
        let ended = self.host.end_turn(self.turn());
        self.ended(ended)
    }

    pub(super) fn set_writable(&mut self, writable: bool) -> Result<(), Broken> {
        let ended = self.host.set_writable(self.turn(), writable);
        // What the other replica has fetched counts once it is in sync again.
        self.commit_planned = None;
        self.ended(ended)?;
        // Those that were refused meanwhile.
        self.mark()
    }

    /// What a turn of the broker has led to.
    fn ended(&mut self, ended: Result<(), String>) -> Result<(), Broken> {
        ended.map_err(|why| Broken { invariant: "brokers work", why })?;
        let news = self.host.take_news();
        if news.let_go {
            self.waiting.clear();
        }
        if news.serves
            && let Some(core) = self.host.core()
        {
            self.trace.note(self.now, format_args!("the coordinator has loaded its log"));
            let scene = Scene { core, host: &self.host, members: &self.members, topics: &self.topics };
            self.invariants.taken_over(&scene)?;
        }
        self.plan_commit();
        self.plan_tick();
        Ok(())
    }

    pub(super) fn observe(&mut self, deletes: bool) -> Result<(), Broken> {
        let Some(core) = self.host.core() else { return Ok(()) };
        let scene = Scene { core, host: &self.host, members: &self.members, topics: &self.topics };
        self.invariants.step(&scene, deletes)
    }

    pub(super) fn release(&mut self) {
        for Reply { to, response } in self.host.take_released() {
            if let Some((process, id)) = self.waiting.remove(&to) {
                self.answer(process, id, response);
            }
        }
    }

    pub(super) fn plan_commit(&mut self) {
        let (end, committed) = self.host.ends();
        let term = self.host.term();
        if self.host.is_led() && end > committed && self.commit_planned != Some((term, end)) {
            self.commit_planned = Some((term, end));
            let at = self.now + self.chaos.replication(&mut self.rng);
            self.queue.plan(at, Event::Commit { term, end });
        }
        self.release();
    }

    pub(super) fn commit(&mut self, end: Offset) -> Result<(), Broken> {
        let ended = self.host.commit(self.turn(), end);
        self.ended(ended)?;
        let (_, committed) = self.host.ends();
        for (ended, commit) in self.transactions.committed(committed) {
            self.trace.note(self.now, format_args!("transaction {ended:?} has ended, commit {commit}"));
            let next = self.transactions.producer(ended.id);
            let at = self.now + self.rng.millis(1, 20);
            self.queue.plan(at, Event::TransactionEnded { ended, next, commit });
        }
        self.after_step(false)?;
        if self.rng.chance(50) {
            return self.look_whether_caught_up();
        }
        Ok(())
    }

    /// If nothing is under way, what is known must be what the log says.
    pub(super) fn look_whether_caught_up(&mut self) -> Result<(), Broken> {
        self.end_turn()?;
        let (end, committed) = self.host.ends();
        let Some(core) = self.host.core().filter(|_| end == committed) else { return Ok(()) };
        let scene = Scene { core, host: &self.host, members: &self.members, topics: &self.topics };
        self.invariants.caught_up(&scene)
    }

    /// Writes the markers of transactions that are decided. While nobody leads they wait for the next broker.
    pub(super) fn mark(&mut self) -> Result<(), Broken> {
        while let Some((producer, commit)) = self.transactions.unmarked()
            && let Some(at) = self.host.write_marker(self.turn(), producer, commit)
        {
            self.trace.note(self.now, format_args!("marker of {producer:?}, commit {commit}"));
            self.transactions.marked(producer, at);
        }
        self.end_turn()
    }

    /// The broker is gone, and with it whatever was not committed, or a part of it. Another takes over.
    pub(super) fn lose_broker(&mut self, append_failed: bool, down: Duration) -> Result<(), Broken> {
        if !self.host.is_led() {
            return Ok(());
        }
        let failed = if append_failed { self.host.set_writable(self.turn(), false) } else { Ok(()) };
        let gone = failed.and_then(|()| self.host.crash(&mut self.rng));
        gone.map_err(|why| Broken { invariant: "brokers work", why })?;
        self.transactions.cut(self.host.ends().0);
        self.waiting.clear();
        self.trace.note(self.now, format_args!("the broker is gone, append failed: {append_failed}"));
        self.queue.plan(self.now + down, Event::TakeOver);
        Ok(())
    }

    pub(super) fn take_over(&mut self) -> Result<(), Broken> {
        self.append_planned = false;
        self.host
            .start(self.turn(), &self.topics)
            .map_err(|why| Broken { invariant: "the log can be read", why })?;
        let (end, _) = self.host.ends();
        self.trace.note(self.now, format_args!("a broker takes over, the log ends at {end}"));
        // What the log has was committed by that.
        self.commit(end)?;
        self.queue.plan(self.now + Duration::from_millis(50), Event::Mark);
        Ok(())
    }
}
