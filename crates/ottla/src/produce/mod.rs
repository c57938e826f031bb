//! `ottla produce`: lines of standard input become records.
//!
//! - [`args`]: what may be said; [`lines`]: reads lines; [`tally`]: what became of them, and the report.

mod args;
mod lines;
mod tally;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{Acks, Delivery, ProduceError, Producer, ProducerConfig, ProducerRecord};
use ottla_wire::batch::Header;
use ottla_wire::primitives::Str;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Pair;
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::{Style, complain, print};
pub use args::ProduceArgs;
use lines::{Line, Lines, RECORD_BYTES_MAX};
use tally::Tally;

/// Records whose fate is not known yet. Reading waits beyond that.
const PENDING_MAX: usize = 100_000;

pub async fn run(args: ProduceArgs) -> Result<Exit, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}")))?;
    let cluster = cluster::connect(&args.cluster, true).await?;
    let producer = Producer::on(cluster, config(&args))?;
    // Before anything is read: who types should hear at once that the topic cannot be had.
    let topic = tokio::select! {
        topic = producer.topic(&args.topic) => topic?,
        _ = interrupt.recv() => return Ok(Exit::Clean),
    };
    if let Some(partition) = args.partition.filter(|partition| topic.partition(*partition).is_none()) {
        let partitions = topic.partitions.len();
        return Err(Failure::usage(format!(
            "topic {} has {partitions} partitions: there is no partition {partition}",
            args.topic
        )));
    }
    if std::io::stdin().is_terminal() && !args.quiet {
        complain("each line becomes a record; Ctrl-D ends\n");
    }
    let mut sending = Sending {
        producer,
        template: template(&args),
        separator: args.key_separator.clone(),
        pending: VecDeque::new(),
        tally: Tally::default(),
    };
    let stopped = sending.send_all(&mut interrupt).await;
    sending.settle_all(&mut interrupt).await;
    sending.tally.complain_of_the_rest();
    let tally = sending.tally;
    let style = Style::of(args.output);
    if style == Style::Json {
        print(tally.to_json(&args.topic))?;
    } else if !args.quiet {
        complain(&tally.to_text(&args.topic, args.acks));
    }
    stopped?;
    Ok(if tally.all_stored() { Exit::Clean } else { Exit::Failed })
}

fn config(args: &ProduceArgs) -> ProducerConfig {
    let defaults = ProducerConfig::default();
    ProducerConfig {
        acks: args.acks,
        enable_idempotence: args.acks == Acks::All,
        compression: args.compression,
        max_request_size: RECORD_BYTES_MAX,
        buffer_memory: RECORD_BYTES_MAX * 2,
        max_block: args.cluster.timeout,
        delivery_timeout: args.cluster.timeout + defaults.linger,
        ..defaults
    }
}

/// What all records have in common.
fn template(args: &ProduceArgs) -> ProducerRecord {
    let header = |pair: &Pair| Header {
        key: Bytes::from(pair.name.clone()),
        value: Some(Bytes::from(pair.value.clone())),
    };
    ProducerRecord {
        topic: Str::from(&args.topic),
        partition: args.partition,
        headers: args.headers.iter().map(header).collect(),
        ..ProducerRecord::default()
    }
}

/// Records on their way.
struct Sending {
    producer: Producer,
    template: ProducerRecord,
    separator: Option<String>,
    /// In the order of their lines.
    pending: VecDeque<(u64, Delivery)>,
    tally: Tally,
}

impl Sending {
    /// Reads and sends until the input ends, Ctrl-C, or an error that stands in the way of everything that
    /// follows.
    async fn send_all(&mut self, interrupt: &mut Signal) -> Result<(), Failure> {
        let mut lines = Lines::of_stdin()?;
        loop {
            let full = self.pending.len() >= PENDING_MAX;
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                () = settle_first(&mut self.pending, &mut self.tally) => {}
                line = lines.next(), if !full => match line {
                    None => return Ok(()),
                    Some(line) => {
                        let line = line?;
                        tokio::select! {
                            taken = take(&self.producer, &self.template, self.separator.as_deref(), &line) => {
                                match taken {
                                    Ok(delivery) => self.pending.push_back((line.number, delivery)),
                                    Err(error) => self.refused(line.number, error)?,
                                }
                            }
                            _ = interrupt.recv() => {
                                self.tally.failed(line.number, "it was interrupted before it was sent");
                                return Ok(());
                            }
                        }
                    }
                },
            }
        }
    }

    /// Counts a record that was not taken. An error that is not about this record ends it all.
    fn refused(&mut self, line: u64, error: Refused) -> Result<(), Failure> {
        match error {
            Refused::NoSeparator => self.tally.failed(line, "it has no key separator"),
            Refused::Record(error @ (ProduceError::TooLarge { .. } | ProduceError::Unencodable(_))) => {
                self.tally.failed(line, &error);
            }
            Refused::Record(ProduceError::NotSent(error)) => return Err(error.into()),
            Refused::Record(error) => {
                return Err(Failure::failed(format!("line {line} was not sent: {error}")));
            }
        }
        Ok(())
    }

    /// Waits until the fate of every record is known; Ctrl-C gives up what is not.
    async fn settle_all(&mut self, interrupt: &mut Signal) {
        tokio::select! {
            () = self.producer.flush() => {}
            _ = interrupt.recv() => self.producer.close(Duration::ZERO).await,
        }
        while !self.pending.is_empty() {
            settle_first(&mut self.pending, &mut self.tally).await;
        }
    }
}

/// Why a line was not taken.
enum Refused {
    NoSeparator,
    Record(ProduceError),
}

async fn take(
    producer: &Producer,
    template: &ProducerRecord,
    separator: Option<&str>,
    line: &Line,
) -> Result<Delivery, Refused> {
    let (key, value) = split(&line.text, separator).ok_or(Refused::NoSeparator)?;
    let record = ProducerRecord { key, value: Some(value), ..template.clone() };
    producer.send(record).await.map_err(Refused::Record)
}

/// Key and value of a line; `None` if it lacks the separator.
fn split(line: &Bytes, separator: Option<&str>) -> Option<(Option<Bytes>, Bytes)> {
    let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
        return Some((None, line.clone()));
    };
    let at = line.windows(separator.len()).position(|window| window == separator.as_bytes())?;
    Some((Some(line.slice(..at)), line.slice(at + separator.len()..)))
}

/// Waits for the fate of the oldest record; for ever if there is none. Cancel safe.
async fn settle_first(pending: &mut VecDeque<(u64, Delivery)>, tally: &mut Tally) {
    let Some((line, delivery)) = pending.front_mut() else { return std::future::pending().await };
    let outcome = delivery.await;
    tally.settled(*line, outcome);
    pending.pop_front();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_the_first_separator() {
        let cases = [
            ("a:b", None, Some((None, "a:b"))),
            ("a:b", Some(""), Some((None, "a:b"))),
            ("a:b", Some(":"), Some((Some("a"), "b"))),
            ("a::b:c", Some("::"), Some((Some("a"), "b:c"))),
            (":b", Some(":"), Some((Some(""), "b"))),
            ("a:", Some(":"), Some((Some("a"), ""))),
            ("ab", Some(":"), None),
            ("", Some("long separator"), None),
        ];
        for (line, separator, expected) in cases {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            let expected = expected.map(|(key, value)| (key.map(bytes), bytes(value)));
            assert_eq!(split(&bytes(line), separator), expected, "{line:?} {separator:?}");
        }
    }
}
