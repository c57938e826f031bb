//! Connections by key.

use std::time::Duration;

use ottla_link::{Dice, Links};

use super::broker::{Deed, Fake, asking};
use super::patient;

fn links() -> Links<u32> {
    Links::new(patient(), Dice::new(Some(1)))
}

#[tokio::test]
async fn each_key_has_one_connection_however_many_ask_at_once() {
    let fake = Fake::start().await;
    let links = std::sync::Arc::new(links());
    assert!(links.ready(1, &fake.address).is_none());
    let asks = (0..20).map(|i| {
        let (links, address) = (links.clone(), fake.address.clone());
        tokio::spawn(async move { links.connection(i % 2, &address).await.unwrap() })
    });
    for ask in asks.collect::<Vec<_>>() {
        ask.await.unwrap().call(&asking(1)).await.unwrap();
    }
    assert_eq!(fake.connections(), 2);
    assert!(links.ready(1, &fake.address).is_some());
}

#[tokio::test]
async fn a_connection_that_ended_or_leads_elsewhere_is_made_anew() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let links = links();
    let connection = links.connection(1, &fake.address).await.unwrap();
    fake.script([Deed::HangUp]);
    connection.call(&asking(1)).await.unwrap_err();
    assert!(links.ready(1, &fake.address).is_none());
    links.connection(1, &fake.address).await.unwrap();
    assert_eq!(fake.connections(), 2);
    assert!(links.ready(1, &other.address).is_none(), "the broker has moved");
    links.connection(1, &other.address).await.unwrap();
    assert_eq!(other.connections(), 1);
}

#[tokio::test]
async fn failed_attempts_are_spaced_and_what_is_not_kept_is_let_go() {
    let fake = Fake::start().await;
    let links = links();
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        links.connection(1, "127.0.0.1:1").await.unwrap_err();
    }
    // Before the second attempt 5 ms, before the third 10, less a fifth of jitter.
    assert!(began.elapsed() >= Duration::from_millis(12));
    let connection = links.connection(2, &fake.address).await.unwrap();
    links.retain(|key| key != 2);
    assert!(links.ready(2, &fake.address).is_none());
    connection.call(&asking(1)).await.unwrap();
}
