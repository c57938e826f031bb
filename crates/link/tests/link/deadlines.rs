//! Nobody waits for longer than they said, and the connection for no longer than `request.timeout.ms`.

use std::time::Duration;

use ottla_link::seam::now;
use ottla_link::{End, LinkConfig, LinkError, Terms};
use ottla_wire::messages::ProduceRequest;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::primitives::Records;
use ottla_wire::protocol::ApiKey;

use super::broker::{Deed, Fake, asking};
use super::steady::steady;
use super::{PATIENCE, patient};

fn quick() -> LinkConfig {
    LinkConfig { request_timeout: Duration::from_millis(500), ..patient() }
}

#[tokio::test]
async fn a_late_answer_is_an_unknown_outcome_and_ends_the_connection() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&quick()).await.unwrap();
    fake.script([Deed::FallSilent]);
    let began = now();
    let error = connection.call(&asking(1)).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { sent: true, .. }), "{error}");
    assert!(error.outcome_unknown() && error.is_retriable());
    assert!(began.elapsed() >= quick().request_timeout);
    let error = connection.call(&asking(2)).await.unwrap_err();
    assert!(matches!(error, LinkError::Disconnected { sent: false, end: End::Late, .. }), "{error}");
    assert_eq!(connection.end_watch().ended().await, End::Late);
}

#[tokio::test]
async fn those_behind_a_late_answer_learn_that_they_were_sent() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&quick()).await.unwrap();
    fake.script([Deed::FallSilent]);
    let first = connection.submit(&asking(1), Terms::default()).unwrap().unwrap();
    let patient = connection.submit(&asking(2), Terms::patient(PATIENCE)).unwrap().unwrap();
    let error = first.wait().await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { sent: true, .. }), "{error}");
    let error = patient.wait().await.unwrap_err();
    assert!(matches!(error, LinkError::Disconnected { sent: true, end: End::Late, .. }), "{error}");
}

#[tokio::test]
async fn a_deadline_of_the_caller_leaves_the_connection_as_it_is() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    fake.script([Deed::Obey(Duration::from_secs(1))]);
    let terms = Terms::by(now() + Duration::from_millis(200));
    let error = connection.call_on(&asking(1), terms).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { sent: true, .. }), "{error}");
    // The answer to the first comes and is thrown away.
    assert_eq!(connection.call(&asking(2)).await.unwrap().controller_id, 2);
}

#[tokio::test]
async fn a_silent_broker_is_given_up_though_nobody_waits_any_more() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&quick()).await.unwrap();
    fake.script([Deed::FallSilent]);
    drop(connection.submit(&asking(1), Terms::default()).unwrap());
    assert_eq!(connection.end_watch().ended().await, End::Late);
    assert!(connection.is_closed());
}

#[tokio::test]
async fn more_time_for_one_request_is_more_time_for_the_broker() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&quick()).await.unwrap();
    fake.script([Deed::Obey(Duration::from_secs(2))]);
    let response = connection.call_on(&asking(1), Terms::patient(PATIENCE)).await.unwrap();
    assert_eq!(response.controller_id, 1);
}

#[tokio::test]
async fn a_call_that_finds_no_room_in_time_was_never_sent() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&LinkConfig { requests_in_flight_max: 1, ..patient() }).await.unwrap();
    fake.script([Deed::FallSilent]);
    let _first = connection.submit(&asking(1), Terms::default()).unwrap().unwrap();
    let terms = Terms::by(now() + Duration::from_millis(100));
    let error = connection.call_on(&asking(2), terms).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { sent: false, .. }), "{error}");
    assert!(!connection.is_closed());
}

/// More than the buffers of two sockets take.
const LARGE: usize = 64 << 20;

fn large() -> ProduceRequest {
    let records = Some(Records::Bytes(vec![0; LARGE].into()));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() };
    ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() }
}

#[tokio::test]
async fn what_could_not_leave_in_time_is_taken_back_and_said_so() {
    steady();
    let fake = Fake::start().await;
    fake.serves(ApiKey::Produce, 9);
    let connection = fake.connect(&patient()).await.unwrap();
    fake.script([Deed::StopReading]);
    let _stops = connection.submit(&asking(1), Terms::default()).unwrap().unwrap();
    let stuck = connection.submit(&large(), Terms::default()).unwrap().unwrap();
    // The large one is being written before the next is queued, so that it alone is in the way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let terms = Terms::by(now() + Duration::from_millis(200));
    let error = connection.call_on(&asking(2), terms).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { sent: false, .. }), "{error}");
    drop(stuck);
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_given_up_even_if_no_answer_is_expected() {
    steady();
    let fake = Fake::start().await;
    fake.serves(ApiKey::Produce, 9);
    let connection = fake.connect(&quick()).await.unwrap();
    fake.script([Deed::StopReading]);
    let first = connection.submit(&asking(1), Terms::patient(PATIENCE)).unwrap().unwrap();
    let error = connection.submit_unanswered(&large(), i16::MAX).unwrap().unwrap().wait().await.unwrap_err();
    assert!(matches!(error, LinkError::Disconnected { sent: true, end: End::Late, .. }), "{error}");
    let error = first.wait().await.unwrap_err();
    assert!(matches!(error, LinkError::Disconnected { sent: true, .. }), "{error}");
}

#[tokio::test]
async fn silence_is_measured_from_the_last_answer() {
    steady();
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    let before = connection.heard_at();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(connection.heard_at(), before);
    connection.call(&asking(1)).await.unwrap();
    assert!(connection.heard_at() >= before + Duration::from_millis(99));
}
