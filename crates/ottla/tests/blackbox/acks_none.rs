//! acks=0: no answers, and an error ends the connection.

use ottla_wire::messages::MetadataRequest;

use crate::harness::{Setup, batch, create_topic, eventually, latest, produce, read_all, values};

#[test]
fn there_is_no_answer() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "quiet", 1, &[]);
    for number in 0..100 {
        wire.send(&produce("quiet", 0, batch([format!("{number}")]), 0), 12).unwrap();
    }
    // The next answer belongs to the next request that has one.
    assert_eq!(wire.call(&MetadataRequest::default(), 12).error_code, 0);
    eventually("all are stored", || latest(&mut wire, "quiet", 0) == 100);
    let read = values(&read_all(&mut wire, "quiet", 0));
    assert!(read.iter().enumerate().all(|(at, value)| *value == at.to_string()), "in order");
}

#[test]
fn an_error_closes_the_connection() {
    let mut setup = Setup::new();
    let broker = setup.start();
    create_topic(&mut broker.connect(), "quiet", 1, &[("max.message.bytes", "1000")]);
    let mut bent = batch(["bent"]).to_vec();
    *bent.last_mut().unwrap() ^= 1;
    let cases = [
        ("an unknown topic", produce("nowhere", 0, batch(["a"]), 0)),
        ("an unknown partition", produce("quiet", 9, batch(["a"]), 0)),
        ("a corrupt batch", produce("quiet", 0, bent.into(), 0)),
        ("too large a batch", produce("quiet", 0, batch(["a".repeat(2000)]), 0)),
    ];
    for (what, request) in cases {
        let mut wire = broker.connect();
        wire.send(&request, 12).unwrap();
        wire.expect_close(what);
    }
    assert_eq!(latest(&mut broker.connect(), "quiet", 0), 0);
}
