//! The end of a broker after a shard has panicked.

use ottla_group::GroupCoordinator;
use ottla_wire::messages::FindCoordinatorRequest;

use super::FatalError;
use super::stage::{PATIENCE, Stage};

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
    let fatal = async {
        tokio::select! {
            fatal = stage.node.tasks.failed() => fatal,
            () = coordinators => unreachable!("it looks on and on"),
        }
    };
    let fatal = tokio::time::timeout(PATIENCE, fatal).await.expect("the broker is told");
    let FatalError::Task(why) = fatal else { panic!("{fatal}") };
    assert!(why.starts_with("shard ") && why.contains("panicked"), "{why}");
}
