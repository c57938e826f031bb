//! The billing service: one invoice for each order, exactly once. Invoices, and how far the orders were read,
//! are written in one transaction: whatever happens to a member, both are there or neither.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ottla_client::{
    Admin, ClientConfig, Cluster, GroupConfig, GroupConsumer, OffsetAndMetadata, Offsets, PartitionRecords,
    ProducerConfig, ProducerRecord, Seek, TopicPartition, TransactionConfig, TransactionError,
    TransactionalProducer,
};
use serde::{Deserialize, Serialize};

use crate::order::{Order, Place};
use crate::service::{self, ServiceArgs};
use crate::shop;

pub const GROUP: &str = "bill";
/// Where invoices go.
pub const TOPIC: &str = "invoices";

/// A member that dies is noticed after this time: the least that brokers allow by default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// The transaction of a member that died is aborted after this time. Until then, readers of committed records
/// wait for it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the farewell of the producer may take.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Args)]
pub struct BillArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// Which member this is: no two that run may have the same number, and one that is started again keeps
    /// its own
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    member: u32,
}

/// The value of a record; its key is the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    pub customer: String,
    pub item: String,
    /// The [`Place`] of the order that it is for.
    pub order: String,
}

impl Invoice {
    pub fn from_json(value: &[u8]) -> anyhow::Result<Invoice> {
        serde_json::from_slice(value).context("this is no invoice")
    }

    fn of(order: Order, place: &Place) -> Invoice {
        Invoice { customer: order.customer, item: order.item, order: place.to_string() }
    }

    fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        serde_json::to_vec(self).context("an invoice cannot be written")
    }
}

pub async fn run(client: ClientConfig, args: &BillArgs) -> anyhow::Result<()> {
    let cluster = Cluster::connect(client.clone()).await?;
    shop::make_topic(&Admin::on(cluster.clone()), TOPIC).await?;
    let transaction = TransactionConfig {
        transaction_timeout: TRANSACTION_TIMEOUT,
        ..TransactionConfig::new(format!("{GROUP}-{}", args.member))
    };
    let producer = TransactionalProducer::on(cluster, ProducerConfig::default(), transaction)?;
    // If this member has run before, and died within a transaction, that is aborted now.
    producer.init_transactions().await?;
    let group = GroupConfig {
        session_timeout: SESSION_TIMEOUT,
        heartbeat_interval: SESSION_TIMEOUT / 6,
        ..GroupConfig::new(GROUP)
    };
    let pace = Duration::from_millis(args.service.pace);
    let attended = service::attend(client, group, async |consumer, orders| {
        match bill(&producer, consumer, orders, pace).await {
            Ok(()) => Ok(()),
            Err(error) if asks_to_abort(&error) => {
                eprintln!("begins anew: {error:#}");
                producer.abort().await?;
                rewind(consumer, orders).await
            }
            // Another member has this one's number, or nobody knows how the transaction ended. Whoever has
            // the number next ends it, and what is committed says where to go on.
            Err(error) => Err(error),
        }
    });
    let done = attended.await;
    producer.close(CLOSE_WAIT).await;
    done
}

/// One transaction: the invoices for these orders, and that they were read.
async fn bill(
    producer: &TransactionalProducer,
    consumer: &GroupConsumer,
    orders: &[PartitionRecords],
    pace: Duration,
) -> anyhow::Result<()> {
    producer.begin()?;
    let mut read = Offsets::new();
    for of in orders {
        for record in &of.records {
            let (place, order) = service::order(of, record)?;
            let invoice = Invoice::of(order, &place);
            let value = invoice.to_json()?;
            producer.send(ProducerRecord::new(TOPIC, value).key(invoice.customer.clone())).await?;
            println!("invoice to {} for {}  [{place}]", invoice.customer, invoice.item);
            read.insert(of.partition.clone(), OffsetAndMetadata::from(record.offset.plus(1)));
            tokio::time::sleep(pace).await;
        }
    }
    // If another member has these partitions by now, this fails, and with it the transaction.
    producer.send_offsets(&read, &consumer.group_metadata()).await?;
    Ok(producer.commit().await?)
}

fn asks_to_abort(error: &anyhow::Error) -> bool {
    error.downcast_ref::<TransactionError>().is_some_and(TransactionError::asks_to_abort)
}

/// Goes back to what is committed in the partitions of these orders, as far as they are this member's.
async fn rewind(consumer: &mut GroupConsumer, orders: &[PartitionRecords]) -> anyhow::Result<()> {
    let mine: Vec<TopicPartition> = consumer
        .assignment()
        .filter(|partition| orders.iter().any(|of| of.partition == **partition))
        .cloned()
        .collect();
    let committed: BTreeMap<_, _> = consumer.committed(mine).await?;
    for (partition, committed) in committed {
        let to = committed.map_or(Seek::Beginning, |committed| Seek::Offset(committed.offset));
        consumer.seek(&partition, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Shop;

    #[test]
    fn an_invoice_tells_which_order_it_is_for() {
        let order =
            Order { shop: Shop::Films, number: 7, customer: "customer-1".into(), item: "film-3".into() };
        let place = Place { partition: TopicPartition::new("orders.films", 2), offset: 9 };
        let json = Invoice::of(order, &place).to_json().unwrap();
        let json_text = String::from_utf8_lossy(&json);
        assert_eq!(json_text, r#"{"customer":"customer-1","item":"film-3","order":"orders.films/2@9"}"#);
        assert_eq!(Invoice::from_json(&json).unwrap().order.parse::<Place>().unwrap(), place);
        assert!(Invoice::from_json(b"{}").is_err());
    }
}
