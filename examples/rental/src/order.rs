//! An order: what a shop writes, and what a service says of one that it has handled.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::Context;
use clap::ValueEnum;
use ottla_client::TopicPartition;
use serde::{Deserialize, Serialize};

/// Partitions of each shop's topic. Both have as many, and customers as keys: the orders of a customer are in
/// partitions with the same number, which one member gets of both topics.
pub const PARTITIONS: i32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shop {
    Books,
    Films,
}

impl Shop {
    pub const ALL: [Shop; 2] = [Shop::Books, Shop::Films];

    /// The name of its topic.
    pub fn topic(self) -> &'static str {
        match self {
            Shop::Books => "orders.books",
            Shop::Films => "orders.films",
        }
    }

    /// What it rents out.
    pub fn thing(self) -> &'static str {
        match self {
            Shop::Books => "book",
            Shop::Films => "film",
        }
    }
}

/// The value of a record; its key is the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub shop: Shop,
    /// Counts the orders of a shop.
    pub number: u32,
    pub customer: String,
    pub item: String,
}

impl Order {
    pub fn from_json(value: &[u8]) -> anyhow::Result<Order> {
        serde_json::from_slice(value).context("this is no order")
    }

    pub fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        serde_json::to_vec(self).context("an order cannot be written")
    }
}

/// Where an order is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub partition: TopicPartition,
    pub offset: i64,
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.partition.topic, self.partition.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Place> {
        let parts = || {
            let (partition, offset) = text.split_once('@')?;
            let (topic, partition) = partition.split_once('/')?;
            let partition = TopicPartition::new(topic, partition.parse().ok()?);
            Some(Place { partition, offset: offset.parse().ok()? })
        };
        parts().with_context(|| format!("{text} is no place of an order"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let order =
            Order { shop: Shop::Films, number: 7, customer: "customer-1".into(), item: "film-3".into() };
        let json = order.to_json().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&json),
            r#"{"shop":"films","number":7,"customer":"customer-1","item":"film-3"}"#
        );
        assert_eq!(Order::from_json(&json).unwrap(), order);
        assert!(Order::from_json(b"{}").is_err());
        let place = Place { partition: TopicPartition::new("orders.films", 2), offset: 9 };
        assert_eq!(place.to_string(), "orders.films/2@9");
        assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        assert!("orders.films@9".parse::<Place>().is_err());
    }
}
