//! Transactions that take too long, and ids that nobody uses any more.

use std::time::Duration;

use ottla_txn::expiry::EXPIRED_PER_STEP_MAX;
use ottla_txn::{TransactionVersion, TxnConfig, TxnState};
use ottla_wire::ErrorCode;

use crate::world::{ABORT, COMMIT, World};

const TIMEOUT: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    for version in [TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2] {
        let mut w = World::of(version);
        let who = w.init("a").unwrap();
        w.after(TIMEOUT * 2);
        assert_eq!(w.state("a"), TxnState::Empty, "nothing is open");
        w.add("a", who, &[("t", 0)]);
        w.after(TIMEOUT / 2);
        w.add("a", who, &[("t", 1)]);
        w.after(TIMEOUT / 2);
        assert_eq!(w.state("a"), TxnState::Ongoing);
        w.after(Duration::from_millis(1));
        assert_eq!(w.state("a"), TxnState::Prepare(ABORT), "counted from its first partition");
        let markers = w.next_markers();
        assert_eq!((markers.producer.epoch.0, markers.outcome), (1, ABORT));
        assert_eq!(
            markers.transaction_version.level(),
            if version == TransactionVersion::V2 { 2 } else { 0 }
        );
        w.markers.push_back(markers);
        w.markers_written();
        assert_eq!((w.state("a"), w.who("a")), (TxnState::Complete(ABORT), (who.0, 1)));
        assert_eq!(w.add("a", who, &[("t", 0)]), ErrorCode::ProducerFenced);
        assert_eq!(
            w.end("a", who, COMMIT),
            match version {
                TransactionVersion::V2 => Err(ErrorCode::InvalidTxnState),
                TransactionVersion::V0 | TransactionVersion::V1 => Err(ErrorCode::ProducerFenced),
            }
        );
        assert_eq!(
            w.end("a", who, ABORT),
            match version {
                // The abort that the client wants has happened: it goes on with the epoch that it brought
                // (KIP-890).
                TransactionVersion::V2 => Ok((who.0, 1)),
                TransactionVersion::V0 | TransactionVersion::V1 => Err(ErrorCode::ProducerFenced),
            }
        );
    }
}

#[test]
fn a_transaction_that_ends_in_time_is_left_alone() {
    let mut w = World::v2();
    let who = w.init("a").unwrap();
    let who = w.transact("a", who, COMMIT);
    w.after(TIMEOUT - Duration::from_secs(1));
    w.add("a", who, &[("t", 0)]);
    w.after(TIMEOUT - Duration::from_secs(1));
    assert_eq!(
        (w.state("a"), w.who("a")),
        (TxnState::Ongoing, who),
        "the time of the one before is not its own"
    );
}

/// The age of a transaction is in its record: another coordinator does not give it more time.
#[test]
fn the_next_coordinator_knows_the_age_of_a_transaction() {
    let mut w = World::v2();
    let who = w.init("a").unwrap();
    w.add("a", who, &[("t", 0)]);
    w.after(TIMEOUT / 2);
    w.restart();
    w.after(TIMEOUT / 2);
    assert_eq!(w.state("a"), TxnState::Ongoing);
    w.after(Duration::from_millis(1));
    assert_eq!(w.state("a"), TxnState::Prepare(ABORT));
}

#[test]
fn a_timeout_waits_for_the_producer_id_that_it_needs() {
    let mut w = World::v2();
    let who = w.with_last_epoch("a");
    w.add("a", who, &[("t", 0)]);
    w.supplies = false;
    w.restart();
    w.after(TIMEOUT * 2);
    assert_eq!(w.state("a"), TxnState::Ongoing);
    w.supply(1);
    w.after(Duration::from_secs(1));
    assert_eq!(w.state("a"), TxnState::Prepare(ABORT));
    assert_eq!(w.transaction("a").next_producer_id.0, w.next_producer_id - 1);
}

#[test]
fn ids_that_nobody_uses_are_forgotten() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        let mut w = World::of(version);
        w.init("empty").unwrap();
        for (id, how) in [("committed", COMMIT), ("aborted", ABORT)] {
            let who = w.init(id).unwrap();
            w.transact(id, who, how);
        }
        let ending = w.init("ending").unwrap();
        w.add("ending", ending, &[("t", 0)]);
        w.end("ending", ending, COMMIT).unwrap();
        w.after(6 * DAY);
        let used = w.init("used").unwrap();
        w.after(DAY + Duration::from_secs(3600));
        let known: Vec<_> = w.frame.core().transactions().map(|(id, _)| id.to_string()).collect();
        assert_eq!(known, ["ending", "used"]);
        assert_eq!(w.log.iter().filter(|record| record.value.is_none()).count(), 3);
        assert_eq!(w.end("committed", (1001, 0), COMMIT), Err(ErrorCode::InvalidProducerIdMapping));
        assert_eq!(w.add("used", used, &[("t", 0)]), ErrorCode::None);
        w.restart();
        assert_eq!(w.frame.core().transactions().count(), 2, "they stay forgotten");
    }
}

#[test]
fn many_ids_are_forgotten_step_by_step() {
    let mut w = World::with(TxnConfig { id_expiration: Duration::from_secs(1800), ..TxnConfig::default() });
    let count = 2 * EXPIRED_PER_STEP_MAX + 1;
    // Written straight to the log: the law is checked after each request, and so many would take long.
    let who = w.init("a").unwrap();
    let kept = w.transaction("a").clone();
    assert_eq!(who.1, 0);
    for n in 0..count {
        let id = format!("id-{n}").into();
        w.log.push(ottla_txn::record::set(&id, &kept, w.config.transaction_version));
    }
    w.restart();
    let mut left = count + 1;
    w.after(Duration::from_secs(3600));
    for expected in [left - EXPIRED_PER_STEP_MAX, left - 2 * EXPIRED_PER_STEP_MAX, 0] {
        left = w.frame.core().transactions().count();
        assert_eq!(left, expected);
        w.after(Duration::from_millis(10));
    }
}
