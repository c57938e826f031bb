//! `ottla consume --group`: prints records as a member of a group.
//!
//! What is committed was printed: where it stops in the middle of what it has fetched, it goes back to there
//! before it leaves.

use std::time::Duration;

use ottla_client::{
    Admin, ConsumerConfig, GroupConfig, GroupConsumer, GroupProtocol, OffsetReset, PartitionRecords, Seek,
    TopicPartition,
};
use ottla_wire::Offset;

use super::args::ConsumeArgs;
use super::begin::{Ends, From};
use super::format::Printer;
use super::polling::{POLL_WAIT, Patience, write};
use super::share::Share;
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::Style;
use crate::selected;
use crate::signals::Signals;

/// How long the last commit and the farewell may take.
const FAREWELL_WAIT: Duration = Duration::from_secs(10);

pub async fn run(args: ConsumeArgs, group: String) -> Result<Exit, Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}")))?;
    let started = tokio::select! {
        started = start(&args, group) => started,
        _ = signals.next() => return Ok(Exit::Clean),
    };
    let (mut consumer, ends) = started?;
    let printer = Printer::new(args.format.clone(), Style::of(args.output));
    let mut reading = Reading {
        ends,
        printer,
        left: args.max_messages.unwrap_or(u64::MAX),
        cursors: Vec::new(),
        has_been_assigned: false,
    };
    let outcome = reading.run(&args, &mut consumer, &mut signals).await;
    reading.step_back(&mut consumer);
    let closed = tokio::select! {
        closed = consumer.close(args.cluster.timeout.min(FAREWELL_WAIT)) => closed.map_err(Failure::from),
        // A second Ctrl-C: the others notice after the session timeout.
        _ = signals.next() => Err(Failure::failed("left without a farewell; the last commit may be missing")),
    };
    outcome?;
    closed.map_err(|failure| failure.about("the last commit"))?;
    Ok(Exit::Clean)
}

async fn start(args: &ConsumeArgs, group: String) -> Result<(GroupConsumer, Ends), Failure> {
    let cluster = cluster::connect(&args.cluster, false).await?;
    let admin = Admin::on(cluster.clone());
    // A name that is mistyped would be waited for without an end.
    let partitions = Vec::from_iter(selected::existing(&admin, &args.selected()).await?);
    let ends = match args.follows() {
        true => Ends::default(),
        false => Ends::now(&admin, &partitions, args.isolation()).await?,
    };
    let reset = match args.from() {
        From::Beginning => OffsetReset::Earliest,
        // The parser lets no other place stand beside a group.
        From::End | From::Offset(_) | From::Last(_) | From::Time(_) => OffsetReset::Latest,
    };
    let reading = ConsumerConfig {
        isolation_level: args.isolation(),
        auto_offset_reset: reset,
        ..ConsumerConfig::default()
    };
    let mut member = GroupConfig {
        group_protocol: args.group.protocol,
        auto_commit_interval: Duration::from_millis(args.group.commit_interval),
        ..GroupConfig::new(group)
    };
    match (args.group.session_timeout, args.group.protocol) {
        (Some(_), GroupProtocol::Consumer) => {
            return Err(Failure::usage("--session-timeout has no effect with --protocol consumer")
                .hint("there the broker decides: consumer.session.timeout.ms of the group"));
        }
        (Some(timeout), GroupProtocol::Classic) => {
            member.session_timeout = timeout;
            // As by default there is time for several that get lost.
            member.heartbeat_interval = member.heartbeat_interval.min(timeout / 3);
        }
        (None, _) => {}
    }
    let mut consumer = GroupConsumer::on(cluster, reading, member)?;
    consumer.set_listener(Share::default());
    consumer.subscribe(args.topics.iter().map(String::as_str))?;
    Ok((consumer, ends))
}

/// What is read, and what is left to be read.
struct Reading {
    ends: Ends,
    printer: Printer,
    left: u64,
    /// The first records of the last poll that were not printed: all of it, until it is.
    cursors: Vec<(TopicPartition, Offset)>,
    has_been_assigned: bool,
}

impl Reading {
    /// Prints until there is no more to print, or a signal comes.
    async fn run(
        &mut self,
        args: &ConsumeArgs,
        consumer: &mut GroupConsumer,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let mut out = tokio::io::stdout();
        let mut patience = Patience::of(args);
        while self.left > 0 && !self.is_through(consumer) {
            let polled = tokio::select! {
                polled = consumer.poll(POLL_WAIT) => polled,
                _ = signals.next() => return Ok(()),
            };
            let records = match polled {
                Ok(records) => records,
                Err(error) if consumer.failure().is_some() => return Err(error.into()),
                Err(error) => {
                    patience.bear(error)?;
                    continue;
                }
            };
            if !records.is_empty() {
                patience.renew();
            }
            self.cursors = firsts(&records);
            let (text, cut) = self.print(&records);
            let written = tokio::select! {
                written = write(&mut out, &text) => written,
                _ = signals.next() => return Ok(()),
            };
            if !written? {
                return Ok(());
            }
            self.cursors = cut;
            self.stop_at_ends(consumer)?;
        }
        Ok(())
    }

    /// Whether everything before the ends is printed in the partitions that this member has. Others see to
    /// theirs.
    fn is_through(&mut self, consumer: &GroupConsumer) -> bool {
        self.has_been_assigned |=
            consumer.group_metadata().generation >= 0 && consumer.assignment().next().is_some();
        let past = |of: &TopicPartition| {
            consumer.position(of).is_some_and(|position| position.0 >= self.ends.of(of))
        };
        self.ends.are_set() && self.has_been_assigned && consumer.assignment().all(past)
    }

    /// The text of the records before the ends, as many as are left, and the first ones that are not in it.
    fn print(&mut self, records: &[PartitionRecords]) -> (Vec<u8>, Vec<(TopicPartition, Offset)>) {
        let (mut text, mut cut) = (Vec::new(), Vec::new());
        for of in records {
            let until = self.ends.of(&of.partition);
            for record in &of.records {
                if self.left == 0 || record.offset.0 >= until {
                    cut.push((of.partition.clone(), record.offset));
                    break;
                }
                self.left -= 1;
                self.printer.print(&of.partition, record, &mut text);
            }
        }
        (text, cut)
    }

    /// Partitions that are through are read no further, and stand where they end.
    fn stop_at_ends(&mut self, consumer: &mut GroupConsumer) -> Result<(), Failure> {
        if !self.ends.are_set() || self.left == 0 {
            return Ok(());
        }
        for (partition, offset) in std::mem::take(&mut self.cursors) {
            consumer.seek(&partition, Seek::Offset(offset))?;
            consumer.pause(&partition)?;
        }
        Ok(())
    }

    /// Goes back to what was given and not printed, so that it is not committed.
    fn step_back(&self, consumer: &mut GroupConsumer) {
        for (partition, offset) in &self.cursors {
            if let Err(error) = consumer.seek(partition, Seek::Offset(*offset)) {
                tracing::info!(%partition, %error, "it was given up meanwhile");
            }
        }
    }
}

fn firsts(records: &[PartitionRecords]) -> Vec<(TopicPartition, Offset)> {
    let first = |of: &PartitionRecords| Some((of.partition.clone(), of.records.first()?.offset));
    records.iter().filter_map(first).collect()
}
