//! What one client may ask of a coordinator, at most.

use ottla_txn::dispatch::WAITING_MAX;
use ottla_txn::{Limits, Request, Response, TxnConfig};
use ottla_wire::ErrorCode;

use crate::world::{COMMIT, World, code, init_request};

fn limited(limits: Limits) -> World {
    World::with(TxnConfig { limits, ..TxnConfig::default() })
}

#[test]
fn there_are_so_many_transactional_ids_and_no_more() {
    let mut w = limited(Limits { transactional_ids_max: 2, ..Limits::default() });
    w.init("a").unwrap();
    w.init("b").unwrap();
    assert_eq!(w.init("c"), Err(ErrorCode::PolicyViolation));
    assert!(w.init("a").is_ok(), "who is known goes on");
}

#[test]
fn so_many_requests_wait_for_a_producer_id_and_no_more() {
    let mut w = World::v2();
    w.supplies = false;
    w.restart();
    let ask = |w: &mut World, n: usize| {
        let ticket = w.ask(5, Request::InitProducerId(init_request(&format!("id-{n}"), (-1, -1)))).unwrap();
        w.replies.remove(&ticket)
    };
    for n in 0..WAITING_MAX {
        assert_eq!(ask(&mut w, n), None);
    }
    match ask(&mut w, WAITING_MAX) {
        Some(Response::InitProducerId(r)) => {
            assert_eq!(code(r.error_code), ErrorCode::CoordinatorLoadInProgress);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(w.frame.core().transactions().count(), 0);
}

#[test]
fn a_transaction_has_so_many_partitions_and_no_more() {
    let mut w = limited(Limits { partitions_max: 2, ..Limits::default() });
    let who = w.init("a").unwrap();
    assert_eq!(w.add("a", who, &[("t", 0), ("t", 1)]), ErrorCode::None);
    assert_eq!(w.add("a", who, &[("t", 2)]), ErrorCode::PolicyViolation);
    assert_eq!(w.add("a", who, &[("t", 1)]), ErrorCode::None, "what is there is there");
    assert!(w.end("a", who, COMMIT).is_ok());
}

#[test]
fn a_record_takes_so_many_bytes_and_no_more() {
    let mut w = limited(Limits { record_bytes_max: 200, ..Limits::default() });
    let who = w.init("a").unwrap();
    let name = "x".repeat(100);
    assert_eq!(w.add("a", who, &[(&name, 0)]), ErrorCode::None);
    let other = "y".repeat(100);
    assert_eq!(w.add("a", who, &[(&other, 0)]), ErrorCode::PolicyViolation);
    let endless = "z".repeat(40_000);
    assert_eq!(w.add("a", who, &[(&endless, 0)]), ErrorCode::PolicyViolation);
    assert_eq!(w.transaction("a").partitions.len(), 1);
}
