//! A member of a group: reads orders, handles them, and only then commits.
//!
//! With [`run`], an order is handled at least once: a member that dies between handling and committing has
//! its last orders handled again by the one that carries on. A service for which that is not enough does its
//! own committing ([`attend`]).

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ottla_client::{
    ClientConfig, ConsumerConfig, GroupConfig, GroupConsumer, IsolationLevel, OffsetReset, PartitionRecords,
    Rebalance, RebalanceListener, TopicPartition,
};
use ottla_wire::batch::Record;
use tokio::signal::unix::{SignalKind, signal};

use crate::order::{Order, Place, Shop};

/// How long one poll waits for orders.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Orders that are handled before they are committed, at most.
const ORDERS_A_COMMIT: usize = 5;
/// How long the last commit and the farewell may take.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// Milliseconds that one order takes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub pace: u64,
}

/// Reads the orders of both shops as a member of `group` and gives each to `handle`, which says what it did,
/// until a signal asks for an end. At least once: an order is handled first, and committed then.
pub async fn run(
    client: ClientConfig,
    group: GroupConfig,
    args: &ServiceArgs,
    mut handle: impl FnMut(&Order) -> String,
) -> anyhow::Result<()> {
    attend(client, group, async |consumer, orders| {
        handle_all(orders, args, &mut handle).await?;
        if let Err(error) = consumer.commit().await {
            eprintln!("not committed, so these orders come again: {error}");
        }
        Ok(())
    })
    .await
}

/// Reads the orders of both shops as a member of `group` and gives them to `work`, a few at a time, until a
/// signal asks for an end. What was read is committed by `work`, and by nothing else.
pub async fn attend(
    client: ClientConfig,
    group: GroupConfig,
    mut work: impl AsyncFnMut(&mut GroupConsumer, &[PartitionRecords]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let reading = ConsumerConfig {
        // A group that has committed nothing yet begins with the oldest order.
        auto_offset_reset: OffsetReset::Earliest,
        isolation_level: IsolationLevel::ReadCommitted,
        max_poll_records: ORDERS_A_COMMIT,
        ..ConsumerConfig::default()
    };
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
            Ok(orders) => work(&mut consumer, &orders).await?,
            Err(error) if error.is_retriable() && consumer.failure().is_none() => {
                eprintln!("{error}; going on")
            }
            Err(error) => return Err(error.into()),
        }
    }
    consumer.close(CLOSE_WAIT).await.context("not left cleanly")
}

/// The order in a record, and where it is.
pub fn order(of: &PartitionRecords, record: &Record) -> anyhow::Result<(Place, Order)> {
    let place = Place { partition: of.partition.clone(), offset: record.offset.0 };
    let order = Order::from_json(record.value.as_deref().unwrap_or_default());
    let order = order.with_context(|| place.to_string())?;
    Ok((place, order))
}

async fn handle_all(
    orders: &[PartitionRecords],
    args: &ServiceArgs,
    handle: &mut impl FnMut(&Order) -> String,
) -> anyhow::Result<()> {
    for of in orders {
        for record in &of.records {
            let (place, order) = order(of, record)?;
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
