//! The recommendation model. Its group speaks the consumer protocol (KIP-848): the broker shares the
//! partitions.

use std::collections::BTreeMap;

use ottla_client::{ClientConfig, GroupConfig, GroupProtocol};

use crate::order::Order;
use crate::service::{self, ServiceArgs};

pub const GROUP: &str = "recommend";

pub async fn run(client: ClientConfig, args: &ServiceArgs) -> anyhow::Result<()> {
    let group = GroupConfig {
        group_protocol: GroupProtocol::Consumer,
        // As with e-mails: one member gets all that a customer has ordered, in both shops.
        group_remote_assignor: Some("range".to_owned()),
        ..GroupConfig::new(GROUP)
    };
    let mut model = Model::default();
    service::run(client, group, args, |order| model.learn(order)).await
}

/// What customers like. It is in memory only, so a model that is to learn anew resets the offsets of its
/// group.
#[derive(Debug, Default)]
struct Model {
    /// How often a customer rented a thing.
    rented: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Model {
    fn learn(&mut self, order: &Order) -> String {
        let customer = self.rented.entry(order.customer.clone()).or_default();
        *customer.entry(order.item.clone()).or_default() += 1;
        let things = customer.len();
        format!("{} rents {}: {things} different things so far", order.customer, order.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Shop;

    #[test]
    fn different_things_are_counted_for_each_customer() {
        let order = |customer: &str, item: &str| Order {
            shop: Shop::Films,
            number: 0,
            customer: customer.to_owned(),
            item: item.to_owned(),
        };
        let mut model = Model::default();
        model.learn(&order("a", "film-1"));
        model.learn(&order("b", "film-2"));
        assert_eq!(model.learn(&order("a", "film-1")), "a rents film-1: 1 different things so far");
        assert_eq!(model.learn(&order("a", "book-1")), "a rents book-1: 2 different things so far");
    }
}
