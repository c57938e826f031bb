//! Copies a topic to another exactly once: `transform BOOTSTRAP GROUP IN OUT TRANSACTIONAL_ID
//! classic|consumer`.
//!
//! Each record goes to the partition with the number of its own. Prints `committed COUNT` or `aborted COUNT`
//! for each transaction; some are aborted on purpose. SIGTERM makes it leave after its transaction. Ends with
//! 3 when its producer is of no more use, as another with its transactional id has come.
//! `tests/clients/transactions` runs it under fire.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use ottla_client::{
    ClientConfig, Cluster, ConsumerConfig, GroupConfig, GroupConsumer, GroupProtocol, IsolationLevel,
    OffsetAndMetadata, OffsetReset, Offsets, PartitionRecords, ProducerConfig, ProducerRecord, Seek,
    TransactionConfig, TransactionError, TransactionalProducer,
};
use tokio::signal::unix::{SignalKind, signal};

const FENCED: u8 = 3;
/// Every so manieth transaction is aborted on purpose.
const ABORT_EVERY: usize = 7;
/// Time for a blow to fall within a transaction.
const OPEN: Duration = Duration::from_millis(40);
const POLL_WAIT: Duration = Duration::from_millis(200);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const CLOSE_WAIT: Duration = Duration::from_secs(10);
const RECORDS_MAX: usize = 200;

type Failed = Box<dyn Error>;

struct Arguments {
    bootstrap: String,
    group: String,
    from: String,
    to: String,
    transactional_id: String,
    protocol: GroupProtocol,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: transform BOOTSTRAP GROUP IN OUT TRANSACTIONAL_ID classic|consumer");
        return ExitCode::from(2);
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the end: {error}");
            ExitCode::from(FENCED)
        }
    }
}

fn arguments() -> Option<Arguments> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, group, from, to, transactional_id, protocol] = <[String; 6]>::try_from(all).ok()?;
    let protocol = match protocol.as_str() {
        "classic" => GroupProtocol::Classic,
        "consumer" => GroupProtocol::Consumer,
        _ => return None,
    };
    Some(Arguments { bootstrap, group, from, to, transactional_id, protocol })
}

async fn run(arguments: Arguments) -> Result<(), Failed> {
    let Arguments { bootstrap, group, from, to, transactional_id, protocol } = arguments;
    let mut terminate = signal(SignalKind::terminate())?;
    let client = ClientConfig::new(&bootstrap);
    let transaction = TransactionConfig {
        transaction_timeout: Duration::from_secs(10),
        ..TransactionConfig::new(transactional_id)
    };
    let cluster = Cluster::connect(client.clone()).await?;
    let producer = TransactionalProducer::on(cluster, ProducerConfig::default(), transaction)?;
    settled(async || producer.init_transactions().await).await?;
    let reading = ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        isolation_level: IsolationLevel::ReadCommitted,
        max_poll_records: RECORDS_MAX,
        ..ConsumerConfig::default()
    };
    let group = GroupConfig {
        group_protocol: protocol,
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_secs(1),
        enable_auto_commit: false,
        ..GroupConfig::new(group)
    };
    let mut consumer = GroupConsumer::new(client, reading, group)?;
    consumer.subscribe([from])?;
    let mut turns = 0;
    loop {
        let polled = tokio::select! {
            polled = consumer.poll(POLL_WAIT) => polled,
            _ = terminate.recv() => break,
        };
        match polled {
            Ok(read) if read.is_empty() => {}
            Ok(read) => {
                turns += 1;
                turn(&producer, &mut consumer, &read, &to, turns % ABORT_EVERY != 0).await?;
            }
            Err(error) if error.is_retriable() && consumer.failure().is_none() => {
                eprintln!("{error}; going on")
            }
            Err(error) => return Err(error.into()),
        }
    }
    consumer.close(CLOSE_WAIT).await?;
    producer.close(CLOSE_WAIT).await;
    Ok(())
}

/// One transaction.
async fn turn(
    producer: &TransactionalProducer,
    consumer: &mut GroupConsumer,
    read: &[PartitionRecords],
    to: &str,
    commits: bool,
) -> Result<(), Failed> {
    let count: usize = read.iter().map(|of| of.records.len()).sum();
    let committed = match copy(producer, consumer, read, to, commits).await {
        Ok(()) => commits,
        Err(error) if error.asks_to_abort() => {
            eprintln!("{error}");
            false
        }
        Err(error) => return Err(error.into()),
    };
    if !committed {
        settled(async || producer.abort().await).await?;
        rewind(consumer, read).await;
    }
    println!("{} {count}", if committed { "committed" } else { "aborted" });
    Ok(())
}

/// One transaction, up to its end if it is to be committed.
async fn copy(
    producer: &TransactionalProducer,
    consumer: &GroupConsumer,
    read: &[PartitionRecords],
    to: &str,
    commits: bool,
) -> Result<(), TransactionError> {
    producer.begin()?;
    let mut following = Offsets::new();
    for of in read {
        for record in &of.records {
            let mut copied = ProducerRecord::new(to, record.value.clone().unwrap_or_default());
            copied = copied.partition(of.partition.partition);
            if let Some(key) = &record.key {
                copied = copied.key(key.clone());
            }
            // Its outcome is the commit's.
            drop(producer.send(copied).await?);
            following.insert(of.partition.clone(), OffsetAndMetadata::from(record.offset.plus(1)));
        }
    }
    producer.flush().await;
    tokio::time::sleep(OPEN).await;
    let who = consumer.group_metadata();
    settled(async || producer.send_offsets(&following, &who).await).await?;
    match commits {
        true => settled(async || producer.commit().await).await,
        false => Ok(()),
    }
}

/// Calls until the outcome is known.
async fn settled(call: impl AsyncFn() -> Result<(), TransactionError>) -> Result<(), TransactionError> {
    loop {
        match call().await {
            Err(error @ TransactionError::Unfinished { .. }) => {
                eprintln!("again: {error}");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Reads again what was not committed, in those partitions that are still this member's.
async fn rewind(consumer: &mut GroupConsumer, read: &[PartitionRecords]) {
    loop {
        let mine: Vec<_> = consumer
            .assignment()
            .filter(|partition| read.iter().any(|of| of.partition == **partition))
            .cloned()
            .collect();
        match consumer.committed(mine).await {
            Ok(committed) => {
                for (partition, committed) in committed {
                    let to = committed.map_or(Seek::Beginning, |committed| Seek::Offset(committed.offset));
                    // One that was lost meanwhile is another member's to read.
                    drop(consumer.seek(&partition, to));
                }
                return;
            }
            Err(error) => {
                eprintln!("rewind: {error}");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
