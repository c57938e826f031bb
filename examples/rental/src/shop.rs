//! A shop: makes its topic if there is none, and writes the orders of the last two weeks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use ottla_client::{Admin, ClientConfig, Cluster, NewTopic, Producer, ProducerConfig, ProducerRecord};
use ottla_wire::{ErrorCode, Timestamp};

use crate::order::{Order, PARTITIONS, Shop};

const CUSTOMERS: u32 = 12;
const ITEMS: u32 = 30;
/// The time that orders are spread over, up to now.
const SPAN: Duration = Duration::from_secs(14 * 24 * 3600);
/// Records older than retention.ms (by default a week) would be deleted: these are kept for ever.
const KEEP: (&str, &str) = ("retention.ms", "-1");
/// How long the last records may take.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

pub async fn run(client: ClientConfig, shop: Shop, orders: u32) -> anyhow::Result<()> {
    let cluster = Cluster::connect(client).await?;
    make_topic(&Admin::on(cluster.clone()), shop.topic()).await?;
    let producer = Producer::on(cluster, ProducerConfig::default())?;
    let mut deliveries = Vec::new();
    let now = now();
    for number in 0..orders {
        let order = order(shop, number);
        let record = ProducerRecord::new(shop.topic(), order.to_json()?)
            // The orders of a customer are in one partition, in order.
            .key(order.customer.clone())
            .timestamp(time_of(number, orders, now));
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        delivery.await.context("an order was not stored")?;
    }
    producer.close(CLOSE_WAIT).await;
    println!("{} wrote {orders} orders of the last two weeks", shop.topic());
    Ok(())
}

/// Makes a topic, unless it is there already.
pub async fn make_topic(admin: &Admin, topic: &str) -> anyhow::Result<()> {
    let (name, value) = KEEP;
    let new = NewTopic {
        replication_factor: -1,
        configs: vec![(name.to_owned(), Some(value.to_owned()))],
        ..NewTopic::new(topic, PARTITIONS)
    };
    match admin.create_topics(&[new], false).await?.remove(topic) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) if error.code == ErrorCode::TopicAlreadyExists => {
            let metadata = admin.cluster().topic(topic, CLOSE_WAIT).await?;
            let count = metadata.partitions.len();
            ensure!(count == PARTITIONS as usize, "{} has {count} partitions, not {PARTITIONS}", topic);
            Ok(())
        }
        Some(Err(error)) => Err(error).context("the topic was not made"),
        None => anyhow::bail!("the broker did not say what became of the topic"),
    }
}

/// Looks random, and is the same each time.
fn order(shop: Shop, number: u32) -> Order {
    let mixed = number.wrapping_add(1).wrapping_mul(2_654_435_761);
    Order {
        shop,
        number,
        customer: format!("customer-{}", (mixed >> 8) % CUSTOMERS),
        item: format!("{}-{}", shop.thing(), (mixed >> 16) % ITEMS),
    }
}

/// The first order is two weeks old, the last one is new.
fn time_of(number: u32, orders: u32, now: Duration) -> Timestamp {
    let left = u128::from(orders - 1 - number) * SPAN.as_millis() / u128::from(orders.max(2) - 1);
    let ms = now.as_millis().saturating_sub(left);
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_spread_over_two_weeks_in_order() {
        let now = Duration::from_secs(1_769_860_800);
        let times: Vec<i64> = (0..84).map(|number| time_of(number, 84, now).0).collect();
        assert_eq!(times[0], (now - SPAN).as_millis() as i64);
        assert_eq!(times[83], now.as_millis() as i64);
        assert!(times.is_sorted());
        assert_eq!(time_of(0, 1, now).0, now.as_millis() as i64);
    }

    #[test]
    fn every_customer_orders() {
        let customers = (0..84).map(|number| order(Shop::Books, number).customer);
        assert_eq!(customers.collect::<std::collections::BTreeSet<_>>().len(), CUSTOMERS as usize);
    }
}
