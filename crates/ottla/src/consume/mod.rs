//! `ottla consume`: prints records.
//!
//! - [`begin`]: where to begin and where to stop; [`format`]: records as text.
//! - `member`: as a member of a group; `share`: tells what it has of the group.

mod begin;
mod format;
mod member;
mod share;

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use ottla_client::{
    Admin, Consumer, ConsumerConfig, IsolationLevel, OffsetReset, PartitionRecords, TopicPartition,
};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ConsumeArgs;
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::{Style, complain};
use begin::Ends;
pub use begin::From;
pub use format::Format;
use format::Printer;

/// How long one poll waits for records.
const POLL_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

pub async fn run(args: ConsumeArgs) -> Result<Exit, Failure> {
    if let Some(group) = args.group.group.clone() {
        return member::run(args, group).await;
    }
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}")))?;
    // A slow reader of the output must not keep Ctrl-C from being heard, so that all of it is waited for together.
    tokio::select! {
        done = consume(args) => done,
        _ = interrupt.recv() => Ok(Exit::Clean),
    }
}

async fn consume(args: ConsumeArgs) -> Result<Exit, Failure> {
    let isolation = isolation(&args);
    let from = args.from();
    let cluster = cluster::connect(&args.cluster, false).await?;
    let admin = Admin::on(cluster.clone());
    let partitions = partitions(&admin, &args).await?;
    let config = ConsumerConfig {
        isolation_level: isolation,
        auto_offset_reset: reset(from),
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::on(cluster, config);
    consumer.assign(partitions.iter().cloned());
    begin::seek(&admin, &mut consumer, &partitions, from, isolation).await?;
    let ends =
        if args.follows() { Ends::default() } else { Ends::now(&admin, &partitions, isolation).await? };
    let printer = Printer::new(args.format.clone(), Style::of(args.output));
    print_records(&args, &mut consumer, &ends, &printer).await
}

/// What to do when the place to begin, or one that was reached, is not in the log.
fn reset(from: From) -> OffsetReset {
    match from {
        From::Beginning | From::Last(_) | From::Time(_) => OffsetReset::Earliest,
        From::End => OffsetReset::Latest,
        // Whoever asks for an offset should hear that it is not there.
        From::Offset(_) => OffsetReset::None,
    }
}

/// The partitions to read, which MUST exist.
async fn partitions(admin: &Admin, args: &ConsumeArgs) -> Result<Vec<TopicPartition>, Failure> {
    let described = admin.describe_topics(&args.topics).await?;
    let mut chosen = BTreeSet::new();
    for name in &args.topics {
        let topic = match described.get(name) {
            Some(Ok(topic)) => topic,
            Some(Err(error)) => {
                let error = ottla_client::Error::from(error.clone());
                return Err(Failure::from(error).about(format_args!("topic {name}")));
            }
            None => return Err(Failure::failed(format!("the broker did not tell of topic {name}"))),
        };
        let count = topic.partitions.len();
        if let Some(wrong) = args.partitions.iter().find(|index| topic.partition(**index).is_none()) {
            return Err(Failure::usage(format!(
                "topic {name} has {count} partitions: there is no partition {wrong}"
            )));
        }
        let all = topic.partitions.iter().map(|partition| partition.index);
        let of_topic = all.filter(|index| args.partitions.is_empty() || args.partitions.contains(index));
        chosen.extend(of_topic.map(|index| TopicPartition::new(name.as_str(), index)));
    }
    Ok(chosen.into_iter().collect())
}

fn isolation(args: &ConsumeArgs) -> IsolationLevel {
    if args.read_committed { IsolationLevel::ReadCommitted } else { IsolationLevel::ReadUncommitted }
}

async fn print_records(
    args: &ConsumeArgs,
    consumer: &mut Consumer,
    ends: &Ends,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut out = tokio::io::stdout();
    let mut left = args.max_messages.unwrap_or(u64::MAX);
    let mut progress = Instant::now();
    let mut complaint = String::new();
    while left > 0 && !ends.reached(consumer) {
        match consumer.poll(POLL_WAIT).await {
            Ok(records) => {
                if !records.is_empty() {
                    (progress, complaint) = (Instant::now(), String::new());
                }
                let text = to_text(&records, ends, printer, &mut left);
                match write(&mut out, &text).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Clean),
                    Err(error) => {
                        return Err(Failure::failed(format!("cannot write to standard output: {error}")));
                    }
                }
            }
            Err(error) => {
                let patient = args.follows() || progress.elapsed() < args.cluster.timeout;
                if !error.is_retriable() || !patient {
                    return Err(error.into());
                }
                // Once, and not each time that it is tried again.
                let text = format!("warning: {error}; trying again\n");
                if text != complaint {
                    complain(&text);
                    complaint = text;
                }
            }
        }
    }
    Ok(Exit::Clean)
}

async fn write(out: &mut tokio::io::Stdout, text: &[u8]) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    out.write_all(text).await?;
    out.flush().await
}

fn to_text(records: &[PartitionRecords], ends: &Ends, printer: &Printer, left: &mut u64) -> Vec<u8> {
    let mut text = Vec::new();
    for of_partition in records {
        let until = ends.of(&of_partition.partition);
        for record in of_partition.records.iter().filter(|record| record.offset.0 < until) {
            if *left == 0 {
                return text;
            }
            *left -= 1;
            printer.print(&of_partition.partition, record, &mut text);
        }
    }
    text
}
