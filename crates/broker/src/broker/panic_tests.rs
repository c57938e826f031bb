//! What becomes of a broker when something in it panics.

use ottla_group::GroupCoordinator;
use ottla_http::Facts;
use ottla_settings::BrokerSettings;
use ottla_wire::messages::FindCoordinatorRequest;

use super::stage::{PATIENCE, Stage};
use super::{Broker, FatalError};

/// Otherwise its partitions would stay dead without anyone noticing.
#[tokio::test]
async fn a_shard_that_panics_ends_the_broker_with_a_reason() {
    let stage = Stage::new().await;
    let request =
        FindCoordinatorRequest { key_type: 0, coordinator_keys: vec!["g".into()], ..Default::default() };
    let coordinators = async {
        // The coordinators' topic is created on first need.
        while stage.connection().ask(4, &request).await.unwrap().coordinators[0].error_code != 0 {
            tokio::task::yield_now().await;
        }
        loop {
            // A look at a coordinator runs in its shard.
            let _seen =
                stage.node.ctx.coordinators.look(|_: &GroupCoordinator| -> () { panic!("on purpose") }).await;
            tokio::task::yield_now().await;
        }
    };
    let failed = async {
        tokio::select! {
            why = stage.node.tasks.failed() => why,
            () = coordinators => unreachable!("it looks on and on"),
        }
    };
    let why = tokio::time::timeout(PATIENCE, failed).await.expect("the broker is told");
    assert!(why.starts_with("shard ") && why.contains("panicked"), "{why}");
}

/// From the task to whoever runs the broker, and to whoever asks for its health.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_panics_is_the_end_of_the_broker_and_an_errand_is_not() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("log.dirs", data.path().to_str().unwrap()), ("listeners", "PLAINTEXT://127.0.0.1:0")];
    let broker = Broker::start(BrokerSettings::from_pairs(settings).unwrap()).await.unwrap();
    let tasks = broker.node.tasks.clone();
    tasks.errand("an errand", async { panic!("on purpose") });
    while tasks.panicked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(broker.status.live().is_ok());
    assert_eq!(broker.status.metrics().await.unwrap().panics, [("an errand", 1)]);

    drop(tasks.part::<()>("a part", async { panic!("on purpose") }));
    let fatal = tokio::time::timeout(PATIENCE, broker.failed()).await.expect("the broker is told");
    assert_eq!(fatal, FatalError::Task("a part panicked; the log above says where".into()));
    assert_eq!(broker.status.live(), Err(fatal.to_string()));
}

/// A stop leaves nothing of the broker behind, and does not wait for it in vain.
#[tokio::test(flavor = "multi_thread")]
async fn no_task_outlives_a_stop() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("log.dirs", data.path().to_str().unwrap()), ("listeners", "PLAINTEXT://127.0.0.1:0")];
    let broker = Broker::start(BrokerSettings::from_pairs(settings).unwrap()).await.unwrap();
    let tasks = broker.node.tasks.clone();
    assert_ne!(format!("{tasks:?}"), "Tasks(\"\")");
    broker.shutdown(std::future::pending()).await.unwrap();
    assert_eq!(format!("{tasks:?}"), "Tasks(\"\")");
}
