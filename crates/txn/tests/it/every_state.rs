//! What can be asked, in every state: one line a request, one column a state.
//!
//! Each cell is asked of a coordinator that has come to the state by itself, of one that has read it in the
//! log, and while the record of the last step is not committed yet: in Kafka a transition is pending then.

use std::time::Duration;

use ottla_txn::{
    AddGroup, MarkerOutcome, MarkersAnswer, Outcome, Request, Response, TransactionVersion, TxnState,
    WriteMarkers,
};
use ottla_wire::messages::AddOffsetsToTxnRequest;
use ottla_wire::{ErrorCode, PartitionIndex, Str};

use crate::world::{ABORT, COMMIT, Who, World, add_request, code, end_request, init_request};

const ID: &str = "a";

const NOBODY: Who = (-1, -1);

/// `Dead` is what Kafka calls an id that is being forgotten; here it is not known any more.
const STATES: [&str; 7] =
    ["unknown", "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"];

/// How a coordinator has come to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Lived,
    Loaded,
    /// The last record is appended, and not committed.
    Pending,
}

/// What a client speaks: the versions of AddPartitionsToTxn and EndTxn that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Speech {
    add: i16,
    end: i16,
}

const ONE: Speech = Speech { add: 3, end: 4 };
const TWO: Speech = Speech { add: 5, end: 5 };

/// Who asks: the producer of the id, the same with the epoch before or one to come, or another producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Current,
    Before,
    ToCome,
    Another,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    /// A new producer.
    Init,
    InitAs(As),
    /// A partition that an open transaction does not have.
    Add(As),
    AddOffsets(As),
    /// A partition that an open transaction has.
    Verify(As),
    VerifyOther,
    End(Outcome, As),
    Describe,
}

use As::{Another, Before, Current, ToCome};

/// Up to the last step all is committed; that is left to `way`.
fn standing(level: TransactionVersion, speech: Speech, state: &str, way: Way) -> (World, Who) {
    let mut w = World::of(level);
    if state == "unknown" {
        return (w, (1, 1));
    }
    // So that there is an epoch before the present one.
    let first = w.init(ID).unwrap();
    let mut steps = vec![Request::InitProducerId(init_request(ID, first))];
    let who = (first.0, first.1 + 1);
    let outcome = if state.ends_with("Commit") { COMMIT } else { ABORT };
    if state != "Empty" {
        steps.push(Request::AddPartitionsToTxn(add_request(ID, who, false, &[("t", 0)])));
    }
    if state.starts_with("Prepare") || state.starts_with("Complete") {
        steps.push(Request::EndTxn(end_request(ID, who, outcome)));
    }
    let completes = state.starts_with("Complete");
    let last = steps.len() - 1;
    for (n, step) in steps.into_iter().enumerate() {
        w.commits = way != Way::Pending || n != last || completes;
        let version = match &step {
            Request::AddPartitionsToTxn(_) => speech.add,
            Request::EndTxn(_) => speech.end,
            _ => 5,
        };
        w.ask(version, step).unwrap();
    }
    if completes {
        w.commits = way != Way::Pending;
        w.markers_written();
    }
    if way == Way::Loaded {
        w.restart();
    }
    w.replies.clear();
    assert_eq!(w.state(ID).name(), state);
    let who = w.who(ID);
    (w, who)
}

fn request(ask: Ask, speech: Speech, who: Who) -> (i16, Request) {
    let of = |whose| match whose {
        Current => who,
        Before => (who.0, who.1 - 1),
        ToCome => (who.0, who.1 + 1),
        Another => (who.0 + 1, who.1),
    };
    let add = |whose, verify_only, partition| {
        Request::AddPartitionsToTxn(add_request(ID, of(whose), verify_only, &[("t", partition)]))
    };
    match ask {
        Ask::Init => (5, Request::InitProducerId(init_request(ID, (-1, -1)))),
        Ask::InitAs(whose) => (5, Request::InitProducerId(init_request(ID, of(whose)))),
        Ask::Add(whose) => (speech.add, add(whose, false, 1)),
        Ask::Verify(whose) => (5, add(whose, true, 0)),
        Ask::VerifyOther => (5, add(Current, true, 1)),
        Ask::AddOffsets(whose) => {
            let request = AddOffsetsToTxnRequest {
                transactional_id: Str::from(ID),
                producer_id: of(whose).0,
                producer_epoch: of(whose).1,
                group_id: Str::from("group"),
            };
            (4, Request::AddOffsetsToTxn(AddGroup { request, partition: PartitionIndex(0) }))
        }
        Ask::End(outcome, whose) => (speech.end, Request::EndTxn(end_request(ID, of(whose), outcome))),
        Ask::Describe => (0, Request::DescribeTransaction(Str::from(ID))),
    }
}

fn code_of(response: &Response) -> ErrorCode {
    code(match response {
        Response::InitProducerId(r) => r.error_code,
        Response::AddPartitionsToTxn(r) => r.topic_results[0].results_by_partition[0].partition_error_code,
        Response::AddOffsetsToTxn(r) => r.error_code,
        Response::EndTxn(r) => r.error_code,
        Response::DescribeTransaction(r) => r.error_code,
        Response::ListTransactions(r) => r.error_code,
    })
}

fn state_of(w: &World) -> String {
    let known = w.frame.core().transactions().find(|(id, _)| **id == ID);
    known.map_or("unknown".to_owned(), |(_, transaction)| transaction.state.name().to_string())
}

/// The producer that an answer tells of.
fn told(response: &Response) -> Option<Who> {
    match response {
        Response::InitProducerId(r) if r.error_code == 0 => Some((r.producer_id, r.producer_epoch)),
        Response::EndTxn(r) if r.error_code == 0 => Some((r.producer_id, r.producer_epoch)),
        _ => None,
    }
}

/// The answer, and the state that it leads to, as the tables write it: no state for the same. And whom it
/// tells of.
fn ask(w: &mut World, ask: Ask, speech: Speech, who: Who, state: &str) -> (String, Option<Who>) {
    let (version, request) = request(ask, speech, who);
    let ticket = w.ask(version, request).unwrap();
    if !w.commits {
        assert!(w.replies.is_empty(), "nothing is told of what is not committed");
        w.commits = true;
        w.pump();
    }
    let response = w.replies.remove(&ticket).unwrap();
    let answer = match code_of(&response) {
        ErrorCode::None => "ok",
        ErrorCode::ConcurrentTransactions => "CONCURRENT",
        ErrorCode::InvalidProducerIdMapping => "MAPPING",
        ErrorCode::InvalidTxnState => "STATE",
        ErrorCode::ProducerFenced => "FENCED",
        ErrorCode::TransactionAbortable => "ABORTABLE",
        ErrorCode::TransactionalIdNotFound => "NOT_FOUND",
        other => panic!("{ask:?} in {state}: {other}"),
    };
    let after = state_of(w);
    let answer = if after == state { answer.to_owned() } else { format!("{answer} {after}") };
    (answer, told(&response))
}

type Line = (Ask, [&'static str; 7]);

/// Alike for all clients.
const ALL_CLIENTS: [Line; 19] = {
    const E: &str = "ok Empty";
    const CO: &str = "CONCURRENT";
    const AB: &str = "CONCURRENT PrepareAbort";
    const FE: &str = "FENCED";
    const MA: &str = "MAPPING";
    const ON: &str = "ok Ongoing";
    const TA: &str = "ABORTABLE";
    [
        // unknown, Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort
        (Ask::Init, [E, "ok", AB, CO, CO, E, E]),
        (Ask::InitAs(Current), [E, "ok", AB, CO, CO, E, E]),
        // The answer to the one who went on was lost.
        (Ask::InitAs(Before), [E, "ok", AB, CO, CO, E, E]),
        (Ask::InitAs(ToCome), [E, FE, FE, CO, CO, FE, FE]),
        (Ask::InitAs(Another), [E, FE, FE, CO, CO, FE, FE]),
        (Ask::Add(Current), [MA, ON, "ok", CO, CO, ON, ON]),
        (Ask::Add(Before), [MA, FE, FE, CO, CO, FE, FE]),
        (Ask::Add(ToCome), [MA, FE, FE, CO, CO, FE, FE]),
        (Ask::Add(Another), [MA, MA, MA, CO, CO, MA, MA]),
        (Ask::AddOffsets(Current), [MA, ON, "ok", CO, CO, ON, ON]),
        (Ask::AddOffsets(Before), [MA, FE, FE, CO, CO, FE, FE]),
        (Ask::AddOffsets(ToCome), [MA, FE, FE, CO, CO, FE, FE]),
        (Ask::AddOffsets(Another), [MA, MA, MA, CO, CO, MA, MA]),
        (Ask::Verify(Current), [MA, TA, "ok", CO, CO, TA, TA]),
        (Ask::Verify(Before), [MA, FE, FE, FE, FE, FE, FE]),
        (Ask::Verify(ToCome), [MA, FE, FE, FE, FE, FE, FE]),
        (Ask::Verify(Another), [MA, MA, MA, MA, MA, MA, MA]),
        (Ask::VerifyOther, [MA, TA, TA, CO, CO, TA, TA]),
        (Ask::Describe, ["NOT_FOUND", "ok", "ok", "ok", "ok", "ok", "ok"]),
    ]
};

const VERSION_1: [Line; 8] = {
    const CO: &str = "CONCURRENT";
    const FE: &str = "FENCED";
    const MA: &str = "MAPPING";
    const ST: &str = "STATE";
    [
        (Ask::End(COMMIT, Current), [MA, ST, "ok PrepareCommit", CO, CO, "ok", ST]),
        (Ask::End(COMMIT, Before), [MA, FE, FE, FE, FE, FE, FE]),
        (Ask::End(COMMIT, ToCome), [MA, FE, FE, FE, FE, FE, FE]),
        (Ask::End(COMMIT, Another), [MA, MA, MA, MA, MA, MA, MA]),
        (Ask::End(ABORT, Current), [MA, ST, "ok PrepareAbort", CO, CO, ST, "ok"]),
        (Ask::End(ABORT, Before), [MA, FE, FE, FE, FE, FE, FE]),
        (Ask::End(ABORT, ToCome), [MA, FE, FE, FE, FE, FE, FE]),
        (Ask::End(ABORT, Another), [MA, MA, MA, MA, MA, MA, MA]),
    ]
};

const VERSION_2: [Line; 8] = {
    const CO: &str = "CONCURRENT";
    const FE: &str = "FENCED";
    const MA: &str = "MAPPING";
    const ST: &str = "STATE";
    const CA: &str = "ok CompleteAbort";
    [
        (Ask::End(COMMIT, Current), [MA, ST, "ok PrepareCommit", CO, CO, ST, ST]),
        (Ask::End(COMMIT, Before), [MA, FE, FE, CO, CO, "ok", ST]),
        (Ask::End(COMMIT, ToCome), [MA, FE, FE, CO, CO, FE, FE]),
        (Ask::End(COMMIT, Another), [MA, MA, MA, MA, MA, MA, MA]),
        (Ask::End(ABORT, Current), [MA, CA, "ok PrepareAbort", CO, CO, CA, "ok"]),
        (Ask::End(ABORT, Before), [MA, FE, FE, CO, CO, ST, "ok"]),
        (Ask::End(ABORT, ToCome), [MA, FE, FE, CO, CO, FE, FE]),
        (Ask::End(ABORT, Another), [MA, MA, MA, MA, MA, MA, MA]),
    ]
};

/// Every level with the clients that it serves.
const SERVED: [(TransactionVersion, Speech); 5] = [
    (TransactionVersion::V0, ONE),
    (TransactionVersion::V1, ONE),
    (TransactionVersion::V1, TWO),
    (TransactionVersion::V2, ONE),
    (TransactionVersion::V2, TWO),
];

const WAYS: [Way; 3] = [Way::Lived, Way::Loaded, Way::Pending];

#[test]
fn every_request_in_every_state() {
    for (level, speech) in SERVED {
        let ends = if speech == TWO { VERSION_2 } else { VERSION_1 };
        for (asked, answers) in ALL_CLIENTS.into_iter().chain(ends) {
            for (state, expected) in STATES.into_iter().zip(answers) {
                for way in WAYS {
                    let (mut w, who) = standing(level, speech, state, way);
                    // The epoch before is not in the records of Kafka 4.3.
                    let forgotten = way == Way::Loaded && state != "unknown" && !state.starts_with("Prepare");
                    let expected =
                        if forgotten && matches!(asked, Ask::InitAs(Before)) { "FENCED" } else { expected };
                    let log = w.log.len();
                    let (answer, told) = ask(&mut w, asked, speech, who, state);
                    let cell = format!("{asked:?} in {state}, {level:?}, {speech:?}, {way:?}");
                    assert_eq!(answer, expected, "{cell}");
                    let stands = state_of(&w) == state && (state == "unknown" || w.who(ID) == who);
                    let adds =
                        answer == "ok" && matches!(asked, Ask::InitAs(_) | Ask::Add(_) | Ask::AddOffsets(_));
                    if stands && !adds && way != Way::Pending {
                        assert_eq!(w.log.len(), log, "{cell}: nothing to write");
                    }
                    // Whatever it was, the id is of use to the next one, and nothing is left open.
                    w.markers_written();
                    match told {
                        Some(told) if matches!(asked, Ask::End(..)) && speech == ONE => {
                            assert_eq!((told, w.who(ID)), (NOBODY, who), "{cell}: the epoch stays");
                        }
                        Some(told) => assert_eq!(told, w.who(ID), "{cell}"),
                        None => {}
                    }
                    if w.init(ID) == Err(ErrorCode::ConcurrentTransactions) {
                        w.markers_written();
                        w.init(ID).unwrap_or_else(|error| panic!("{cell}: {error}"));
                    }
                    assert_eq!(w.state(ID), TxnState::Empty, "{cell}");
                }
            }
        }
    }
}

/// Whoever is fenced gets nothing done, in no state, until another producer id is all that it could have.
#[test]
fn a_fenced_producer_changes_nothing() {
    for (level, speech) in SERVED {
        for state in &STATES[1..] {
            let (mut w, zombie) = standing(level, speech, state, Way::Lived);
            // Markers of its last transaction, then another producer.
            w.markers_written();
            if w.init(ID).is_err() {
                w.markers_written();
                w.init(ID).unwrap();
            }
            let after = w.who(ID);
            let asks = [
                Ask::Add(Current),
                Ask::AddOffsets(Current),
                Ask::Verify(Current),
                Ask::InitAs(Current),
                Ask::End(COMMIT, Current),
                Ask::End(ABORT, Current),
            ];
            for opens in [false, true] {
                if opens {
                    assert_eq!(w.add_at(speech.add, ID, after, &[("t", 0)]), ErrorCode::None);
                }
                let log = w.log.len();
                for asked in asks {
                    let now = state_of(&w);
                    let (answer, _) = ask(&mut w, asked, speech, zombie, &now);
                    assert_eq!(answer, "FENCED", "{asked:?} of {state}, {level:?}, {speech:?}");
                }
                assert_eq!(w.log.len(), log);
            }
            w.end_at(speech.end, ID, after, COMMIT).unwrap();
            w.markers_written();
            assert_eq!(w.state(ID), TxnState::Complete(COMMIT));
        }
    }
}

/// Answers to markers: only those that were asked for count, and only while the transaction is ending.
#[test]
fn every_answer_to_markers_in_every_state() {
    use MarkerOutcome::{Done, Fenced, Gone, Retry};
    for (level, speech) in SERVED {
        for state in &STATES[1..] {
            for (outcome, completes) in [(Done, true), (Gone, true), (Retry, false), (Fenced, false)] {
                for way in [Way::Lived, Way::Loaded] {
                    let (mut w, _) = standing(level, speech, state, way);
                    let cell = format!("{outcome:?} in {state}, {level:?}, {speech:?}, {way:?}");
                    // Of a transaction before.
                    let stale = stale_markers(level, speech);
                    w.answer_markers(&stale, |_, _| outcome);
                    assert_eq!(state_of(&w), *state, "{cell}");
                    let ending = state.starts_with("Prepare");
                    assert_eq!(w.markers.len(), usize::from(ending), "{cell}");
                    if !ending {
                        continue;
                    }
                    let asked = w.next_markers();
                    answer_about_nothing(&mut w, &asked);
                    assert_eq!(state_of(&w), *state, "{cell}: asked for again");
                    w.after(ottla_txn::markers::BACKOFF_MIN);
                    let asked = w.next_markers();
                    w.answer_markers(&asked, |_, _| outcome);
                    let expected =
                        if completes { state.replace("Prepare", "Complete") } else { (*state).to_owned() };
                    assert_eq!(state_of(&w), expected, "{cell}");
                }
            }
        }
    }
}

/// Markers that another coordinator has asked for.
fn stale_markers(level: TransactionVersion, speech: Speech) -> WriteMarkers {
    let mut w = standing(level, speech, "PrepareCommit", Way::Lived).0;
    // Tokens are as fresh as the moments that they are made of.
    w.restart();
    w.restart();
    w.next_markers()
}

/// An answer that tells of no partition.
fn answer_about_nothing(w: &mut World, asked: &WriteMarkers) {
    let answer = MarkersAnswer {
        transactional_id: asked.transactional_id.clone(),
        token: asked.token,
        partitions: Vec::new(),
    };
    let at = w.at();
    w.frame.act(|core, out| core.markers_answered(&at, &answer, out));
    w.pump();
}

/// What time brings about.
#[test]
fn time_in_every_state() {
    const SAME: [&str; 7] = STATES;
    let mut timed_out = SAME;
    timed_out[2] = "PrepareAbort";
    let expired =
        ["unknown", "unknown", "PrepareAbort", "PrepareCommit", "PrepareAbort", "unknown", "unknown"];
    for (level, speech) in SERVED {
        for (time, expected) in [
            (Duration::from_secs(60), SAME),
            (Duration::from_millis(60_001), timed_out),
            (Duration::from_secs(7 * 24 * 3600 - 1), timed_out),
            (Duration::from_secs(7 * 24 * 3600 + 3600), expired),
        ] {
            for way in [Way::Lived, Way::Loaded] {
                for (state, expected) in STATES.into_iter().zip(expected) {
                    let (mut w, _) = standing(level, speech, state, way);
                    w.after(time);
                    assert_eq!(state_of(&w), expected, "{state}, {time:?}, {level:?}, {speech:?}, {way:?}");
                }
            }
        }
    }
}
