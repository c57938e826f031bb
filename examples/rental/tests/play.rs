//! Plays the whole story against a broker that is started here.

use std::process::Command;

use ottla_broker::Broker;
use ottla_settings::BrokerSettings;

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = [
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", data.to_str().unwrap()),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    let broker = Box::pin(Broker::start(BrokerSettings::from_pairs(settings).unwrap())).await.unwrap();
    let address = broker.listening()[0].addr.to_string();
    let play = move || {
        let mut play = Command::new(env!("CARGO_BIN_EXE_rental"));
        play.args(["play", "--bootstrap-server", &address]).output().unwrap()
    };
    let play = tokio::task::spawn_blocking(play).await.unwrap();
    let (told, errors) = (String::from_utf8_lossy(&play.stdout), String::from_utf8_lossy(&play.stderr));
    assert!(play.status.success(), "{told}\n{errors}");
    assert!(told.ends_with("all counts are right\n"), "{told}");
    Box::pin(broker.shutdown(std::future::pending())).await.unwrap();
}
