//! The e-mail service. Its group speaks the classic protocol: one member, the leader, shares the partitions.

use std::time::Duration;

use ottla_client::{Assignor, ClientConfig, GroupConfig};

use crate::order::Order;
use crate::service::{self, ServiceArgs};

pub const GROUP: &str = "email";

/// A member that dies is noticed after this time: the least that brokers allow by default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

pub async fn run(client: ClientConfig, args: &ServiceArgs) -> anyhow::Result<()> {
    let group = GroupConfig {
        // Partitions with the same number go to the same member: with three of them, a fourth member waits.
        partition_assignment_strategy: vec![Assignor::Range],
        session_timeout: SESSION_TIMEOUT,
        heartbeat_interval: SESSION_TIMEOUT / 6,
        ..GroupConfig::new(GROUP)
    };
    service::run(client, group, args, e_mail).await
}

fn e_mail(order: &Order) -> String {
    format!("e-mail to {}: enjoy {}", order.customer, order.item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Shop;

    #[test]
    fn the_e_mail_is_to_the_customer() {
        let order =
            Order { shop: Shop::Books, number: 1, customer: "customer-3".into(), item: "book-17".into() };
        assert_eq!(e_mail(&order), "e-mail to customer-3: enjoy book-17");
    }
}
