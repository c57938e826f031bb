//! A member of a group: reads orders, handles them, and only then commits.
//!
//! An order is handled at least once: a member that dies between handling and committing has its last orders handled
//! again by the one that carries on.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ottla_client::{
    ClientConfig, ConsumerConfig, GroupConfig, GroupConsumer, OffsetReset, PartitionRecords, Rebalance,
    RebalanceListener, TopicPartition,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::order::{Order, Place, Shop};

/// How long one poll waits for orders.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Orders that are handled before they are committed, at most.
const ORDERS_A_COMMIT: usize = 5;
/// How long the last commit and the farewell may take.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// Milliseconds that one order takes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub pace: u64,
}

/// Reads the orders of both shops as a member of `group` and gives them to `handle`, which says what it did, until a signal
/// asks for an end.
pub async fn run(
    client: ClientConfig,
    group: GroupConfig,
    args: &ServiceArgs,
    mut handle: impl FnMut(&Order) -> String,
) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let reading = ConsumerConfig {
        // A group that has committed nothing yet begins with the oldest order.
        auto_offset_reset: OffsetReset::Earliest,
        max_poll_records: ORDERS_A_COMMIT,
        ..ConsumerConfig::default()
    };
    // What is committed is said below, when it is done.
    let group = GroupConfig { enable_auto_commit: false, ..group };
    let mut consumer = GroupConsumer::new(client, reading, group)?;
    consumer.set_listener(Share);
    consumer.subscribe(Shop::ALL.map(Shop::topic))?;
    loop {
        let polled = tokio::select! {
            polled = consumer.poll(POLL_WAIT) => polled,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        match polled {
            Ok(orders) if orders.is_empty() => {}
            Ok(orders) => {
                handle_all(&orders, args, &mut handle).await?;
                // Here a service that produces would send what it made and commit in one transaction.
                if let Err(error) = consumer.commit().await {
                    eprintln!("not committed, so these orders come again: {error}");
                }
            }
            Err(error) if error.is_retriable() && consumer.failure().is_none() => {
                eprintln!("{error}; going on")
            }
            Err(error) => return Err(error.into()),
        }
    }
    consumer.close(CLOSE_WAIT).await.context("not left cleanly")
}

async fn handle_all(
    orders: &[PartitionRecords],
    args: &ServiceArgs,
    handle: &mut impl FnMut(&Order) -> String,
) -> anyhow::Result<()> {
    for of in orders {
        for record in &of.records {
            let place = Place { partition: of.partition.clone(), offset: record.offset.0 };
            let order = Order::from_json(record.value.as_deref().unwrap_or_default());
            let order = order.with_context(|| place.to_string())?;
            println!("{}  [{place}]", handle(&order));
            tokio::time::sleep(Duration::from_millis(args.pace)).await;
        }
    }
    Ok(())
}

/// Says when the share of a member changes.
struct Share;

impl RebalanceListener for Share {
    fn revoked(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            eprintln!("gives up {}", names(partitions));
        }
    }

    fn assigned(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        match partitions.is_empty() {
            true => eprintln!("gets nothing more"),
            false => eprintln!("gets {}", names(partitions)),
        }
    }

    fn lost(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        eprintln!("has lost {}", names(partitions));
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
