//! How connections end, and what those hear who wait.

use std::time::Duration;

use ottla_link::{Advice, ConnectCause, Connection, End, LinkConfig, LinkError};
use tokio::net::TcpSocket;

use super::broker::{Deed, Fake, asking};
use super::patient;
use super::steady::steady;

#[tokio::test]
async fn nobody_listens() {
    // Taken, so that no other test listens there either.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Connection::connect(&address, &patient()).await.unwrap_err();
    assert!(matches!(error, LinkError::Connect { cause: ConnectCause::Refused, .. }), "{error}");
    assert!(error.is_refused());
    assert_eq!(error.advice(), Advice::Retry);
}

#[tokio::test]
async fn whatever_ends_it_the_outcome_is_unknown_and_the_next_request_is_not_sent() {
    let garbled =
        |what: &'static str| move |end: &End| matches!(end, End::Garbled(why) if why.contains(what));
    type Expect = Box<dyn Fn(&End) -> bool>;
    let cases: [(Deed, Expect); 8] = [
        (Deed::HangUp, Box::new(|end| *end == End::ClosedByPeer)),
        (Deed::HangUpWithin, Box::new(|end| matches!(end, End::Broken(_)))),
        (Deed::Reset, Box::new(|end| matches!(end, End::Broken(_)))),
        (Deed::AnswerAnother, Box::new(garbled("out of order"))),
        // Lengths: the largest, a negative one, and one of text.
        (Deed::Send(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1]), Box::new(garbled("announced"))),
        (Deed::Send(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]), Box::new(garbled("announced"))),
        (Deed::Send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Box::new(garbled("announced"))),
        (Deed::Send(&[0, 0, 0, 3, 0, 0, 0, 1]), Box::new(garbled("announced"))),
    ];
    for (deed, is_expected) in cases {
        let fake = Fake::start().await;
        let connection = fake.connect(&patient()).await.unwrap();
        fake.script([deed.clone()]);
        let error = connection.call(&asking(1)).await.unwrap_err();
        assert!(error.outcome_unknown(), "{deed:?}: {error}");
        let LinkError::Disconnected { end, sent: true, .. } = &error else { panic!("{deed:?}: {error}") };
        assert!(is_expected(end), "{deed:?}: {end:?}");
        assert_eq!(end.is_by_peer(), matches!(end, End::ClosedByPeer | End::Broken(_)));
        assert_eq!(connection.end_watch().ended().await, *end, "{deed:?}");
        let error = connection.call(&asking(2)).await.unwrap_err();
        assert!(matches!(error, LinkError::Disconnected { sent: false, .. }), "{deed:?}: {error}");
        assert_eq!((error.advice(), fake.asked()), (Advice::Retry, 1), "{deed:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_malformed_and_ends_it() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    // The right correlation id, then a body that is cut off.
    fake.script([Deed::Send(&[0, 0, 0, 6, 0, 0, 0, 1, 0, 0])]);
    let error = connection.call(&asking(1)).await.unwrap_err();
    assert!(matches!(error, LinkError::Malformed { .. }) && error.outcome_unknown(), "{error}");
    let error = connection.call(&asking(2)).await.unwrap_err();
    assert!(matches!(error, LinkError::Disconnected { sent: false, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_it_after_the_right_one_was_heard() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    fake.script([Deed::SayMore]);
    assert_eq!(connection.call(&asking(1)).await.unwrap().controller_id, 1);
    let end = connection.end_watch().ended().await;
    assert!(matches!(&end, End::Garbled(why) if why.contains("nobody asked")), "{end:?}");
}

#[tokio::test]
async fn everyone_in_flight_is_told() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    fake.script([Deed::Obey(Duration::from_millis(20)), Deed::HangUp]);
    let submit = |number| connection.submit(&asking(number), Default::default()).unwrap().unwrap();
    let pending: Vec<_> = (1..=5).map(submit).collect();
    let mut outcomes = Vec::new();
    for one in pending {
        outcomes.push(one.wait().await);
    }
    assert_eq!(outcomes.remove(0).unwrap().controller_id, 1);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        // Closed, or reset if the broker had not read all of them yet.
        let is_told = matches!(&error, LinkError::Disconnected { end, .. } if end.is_by_peer());
        assert!(is_told, "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_ends_and_a_watch_does_not_keep_it() {
    let fake = Fake::start().await;
    let connection = fake.connect(&patient()).await.unwrap();
    let watch = connection.end_watch();
    drop(connection);
    assert_eq!(watch.ended().await, End::Unused);

    steady();
    let config = LinkConfig { connections_max_idle: Duration::from_millis(300), ..patient() };
    let connection = fake.connect(&config).await.unwrap();
    assert_eq!(connection.end_watch().ended().await, End::Idle);
    let error = connection.call(&asking(1)).await.unwrap_err();
    assert!(matches!(error, LinkError::Disconnected { sent: false, .. }), "{error}");
}

#[tokio::test]
async fn a_broker_that_dies_is_noticed_by_those_who_only_watch() {
    let fake = Fake::start().await;
    let (watched, used) = (fake.connect(&patient()).await.unwrap(), fake.connect(&patient()).await.unwrap());
    let watch = used.end_watch();
    let noticed = tokio::spawn(async move { watch.ended().await });
    fake.script([Deed::Reset]);
    used.call(&asking(1)).await.unwrap_err();
    assert!(noticed.await.unwrap().is_by_peer());
    assert!(!watched.is_closed());
}
