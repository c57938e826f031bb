//! `ottla consume` without a group: prints the records of given partitions.

use ottla_client::{Admin, Consumer, ConsumerConfig, OffsetReset, PartitionRecords};
use tokio::signal::unix::{SignalKind, signal};

use super::args::ConsumeArgs;
use super::begin::{self, Ends, From};
use super::format::Printer;
use super::polling::{POLL_WAIT, Patience, write};
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::Style;
use crate::selected;

pub async fn run(args: ConsumeArgs) -> Result<Exit, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::failed(format!("cannot listen for Ctrl-C: {error}")))?;
    // A slow reader of the output must not keep Ctrl-C from being heard, so that all of it is waited for
    // together.
    tokio::select! {
        done = consume(args) => done,
        _ = interrupt.recv() => Ok(Exit::Clean),
    }
}

async fn consume(args: ConsumeArgs) -> Result<Exit, Failure> {
    let isolation = args.isolation();
    let from = args.from();
    let cluster = cluster::connect(&args.cluster, false).await?;
    let admin = Admin::on(cluster.clone());
    let partitions = Vec::from_iter(selected::existing(&admin, &args.selected()).await?);
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

async fn print_records(
    args: &ConsumeArgs,
    consumer: &mut Consumer,
    ends: &Ends,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut out = tokio::io::stdout();
    let mut left = args.max_messages.unwrap_or(u64::MAX);
    let mut patience = Patience::of(args);
    while left > 0 && !ends.reached(consumer) {
        let records = match consumer.poll(POLL_WAIT).await {
            Ok(records) => records,
            Err(error) => {
                patience.bear(error)?;
                continue;
            }
        };
        if !records.is_empty() {
            patience.renew();
        }
        let text = to_text(&records, ends, printer, &mut left);
        if !write(&mut out, &text).await? {
            break;
        }
    }
    Ok(Exit::Clean)
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
