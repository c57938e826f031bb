//! Who gets which answer, and at which version.

use std::time::Duration;

use ottla_link::{Advice, LinkConfig, LinkError, Terms};
use ottla_wire::messages::{DescribeLogDirsRequest, MetadataRequest};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::broker::{Deed, Fake, asking};
use super::patient;

#[tokio::test]
async fn many_requests_in_flight_get_their_own_answers() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    let calls = (0..200).map(|i| {
        let connection = connection.clone();
        tokio::spawn(async move {
            let response = connection.call(&asking(i % 7)).await.unwrap();
            assert_eq!(response.controller_id, (i % 7) as i32);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(fake.asked(), 200);
}

#[tokio::test]
async fn requests_leave_in_the_order_they_were_submitted_and_no_more_than_are_allowed() {
    let fake = Fake::start().await;
    let config = LinkConfig { requests_in_flight_max: 3, ..patient() };
    let connection = fake.connect(&config).await.unwrap();
    fake.script([Deed::Obey(Duration::from_millis(50))]);
    let submit = |number| connection.submit(&asking(number), Terms::default()).unwrap();
    let pending: Vec<_> = (1..=3).map(|number| submit(number).unwrap()).collect();
    assert!(submit(4).is_none(), "three are in flight");
    // A call waits for its turn instead.
    let fourth = connection.call(&asking(4)).await.unwrap();
    assert_eq!(fourth.controller_id, 4);
    for (pending, number) in pending.into_iter().zip(1..) {
        assert_eq!(pending.wait().await.unwrap().controller_id, number);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_does_not_disturb_the_next() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    fake.script([Deed::Obey(Duration::from_millis(50))]);
    drop(connection.submit(&asking(1), Terms::default()).unwrap());
    assert_eq!(connection.call(&asking(2)).await.unwrap().controller_id, 2);
}

#[tokio::test]
async fn an_old_broker_is_asked_again_at_its_version() {
    let fake = Fake::start().await;
    fake.serves(ApiKey::ApiVersions, 2).serves(ApiKey::Metadata, 4);
    let connection = fake.connect(&patient()).await.unwrap();
    connection.call(&MetadataRequest::default()).await.unwrap();
    connection.call_on(&MetadataRequest::default(), Terms::up_to(1)).await.unwrap();
    let newest = *ApiKey::ApiVersions.versions().end();
    let asked: Vec<i16> = fake.requests().iter().map(|&(_, version)| version).collect();
    assert_eq!(asked, [newest, 2, 4, 1]);
}

#[tokio::test]
async fn a_broker_that_refuses_to_agree_is_named() {
    let fake = Fake::start().await;
    fake.refuses(ErrorCode::ClusterAuthorizationFailed);
    let error = fake.connect(&patient()).await.unwrap_err();
    assert!(matches!(error, LinkError::Refused { .. }), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    assert!(error.to_string().contains("CLUSTER_AUTHORIZATION_FAILED"), "{error}");
}

#[tokio::test]
async fn an_api_that_is_not_served_is_said_so_without_asking() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    let error = connection.call(&DescribeLogDirsRequest::default()).await.unwrap_err();
    assert!(matches!(error, LinkError::UnsupportedVersion { api: ApiKey::DescribeLogDirs, .. }), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    assert_eq!(fake.asked(), 0);
}
