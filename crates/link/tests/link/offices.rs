//! An office that moves between a task here and brokers elsewhere.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_link::seam::now;
use ottla_link::{ApiError, Connection, Dice, Instant, LinkError, Links, Office, Terms};
use ottla_wire::protocol::ErrorCode;

use super::broker::{Deed, Fake, asking};
use super::{PATIENCE, patient};

/// Who holds the office: the broker with this number, a task here, or nobody.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Broker(usize),
    Here,
    Nobody,
}

enum Way {
    Remote(Connection),
    Local,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("no time is left")]
    Late,
}

struct Chair {
    fakes: Vec<Fake>,
    links: Links<usize>,
    /// Each look takes the next.
    holders: Mutex<Vec<Holder>>,
    known: Mutex<Option<Holder>>,
    looks: AtomicUsize,
}

impl Chair {
    fn new(fakes: &[&Fake], holders: &[Holder]) -> Chair {
        Chair {
            fakes: fakes.iter().map(|&fake| fake.clone()).collect(),
            links: Links::new(patient(), Dice::new(Some(1))),
            holders: Mutex::new(holders.iter().rev().copied().collect()),
            known: Mutex::default(),
            looks: AtomicUsize::new(0),
        }
    }

    async fn ask_number(&self, number: usize, repeat_unknown: bool) -> Result<i32, Failure> {
        let may_repeat = |error: &Failure| match error {
            Failure::Link(error) => error.is_retriable() && (repeat_unknown || !error.outcome_unknown()),
            Failure::Api(error) => error.is_retriable(),
            Failure::Late => false,
        };
        self.ask_within(PATIENCE, number, may_repeat).await
    }

    async fn ask_within(
        &self,
        patience: Duration,
        number: usize,
        may_repeat: impl Fn(&Failure) -> bool + Send + Sync,
    ) -> Result<i32, Failure> {
        let deadline: Instant = now() + patience;
        let ask = |way| async move {
            match way {
                Way::Remote(connection) => {
                    let response = connection.call_on(&asking(number), Terms::by(deadline)).await?;
                    Ok(response.controller_id)
                }
                Way::Local => Ok(number as i32),
            }
        };
        self.ask(deadline, may_repeat, ask).await
    }
}

fn not_controller() -> Failure {
    Failure::Api(ApiError { code: ErrorCode::NotController, message: None })
}

impl Office for Chair {
    type Holder = Way;
    type Error = Failure;

    async fn find(&self) -> Result<Way, Failure> {
        let known = *self.known.lock().unwrap();
        let holder = known.unwrap_or_else(|| {
            self.looks.fetch_add(1, Ordering::Relaxed);
            self.holders.lock().unwrap().pop().unwrap_or(Holder::Nobody)
        });
        *self.known.lock().unwrap() = (holder != Holder::Nobody).then_some(holder);
        match holder {
            Holder::Broker(number) => {
                Ok(Way::Remote(self.links.connection(number, &self.fakes[number].address).await?))
            }
            Holder::Here => Ok(Way::Local),
            Holder::Nobody => Err(not_controller()),
        }
    }

    fn has_moved(&self, error: &Failure) -> bool {
        matches!(error, Failure::Link(_) | Failure::Api(_))
    }

    fn may_be_found(&self, error: &Failure) -> bool {
        self.has_moved(error)
    }

    fn forget(&self) {
        *self.known.lock().unwrap() = None;
    }

    fn pause(&self, _: &Failure, _: u32) -> Duration {
        Duration::from_millis(5)
    }

    fn late(&self, _: Duration) -> Failure {
        Failure::Late
    }
}

#[tokio::test]
async fn the_holder_is_found_once_and_asked_wherever_it_is() {
    let fake = Fake::start().await;
    for holder in [Holder::Broker(0), Holder::Here] {
        let chair = Chair::new(&[&fake], &[holder]);
        for number in 1..4 {
            assert_eq!(chair.ask_number(number, false).await.unwrap(), number as i32);
        }
        assert_eq!(chair.looks.load(Ordering::Relaxed), 1, "{holder:?}");
    }
}

#[tokio::test]
async fn it_is_looked_for_until_somebody_holds_it() {
    let fake = Fake::start().await;
    let chair = Chair::new(&[&fake], &[Holder::Nobody, Holder::Nobody, Holder::Broker(0)]);
    assert_eq!(chair.ask_number(5, false).await.unwrap(), 5);
    assert_eq!(chair.looks.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_holder_that_dies_is_followed_by_the_next_unless_what_was_asked_may_have_happened() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    let story = [Holder::Broker(0), Holder::Broker(1)];
    let chair = Chair::new(&[&first, &second], &story);
    first.script([Deed::HangUp]);
    assert_eq!(chair.ask_number(7, true).await.unwrap(), 7);
    assert_eq!((first.asked(), second.asked()), (1, 1));

    let chair = Chair::new(&[&first, &second], &story);
    first.script([Deed::HangUp]);
    let error = chair.ask_number(7, false).await.unwrap_err();
    assert!(matches!(&error, Failure::Link(error) if error.outcome_unknown()), "{error}");
    assert_eq!(second.asked(), 1, "not asked again");
    // It is looked for anew all the same.
    assert_eq!(chair.ask_number(8, false).await.unwrap(), 8);
    assert_eq!(second.asked(), 2);
}

#[tokio::test]
async fn an_answer_that_another_holds_it_is_followed_up() {
    let chair = Arc::new(Chair::new(&[], &[Holder::Here, Holder::Here]));
    let refusals = AtomicUsize::new(0);
    let attempt = |_| async {
        match refusals.fetch_add(1, Ordering::Relaxed) {
            0 => Err(not_controller()),
            _ => Ok(()),
        }
    };
    chair.ask(now() + PATIENCE, |_: &Failure| true, attempt).await.unwrap();
    assert_eq!(chair.looks.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_search_with_the_last_reason() {
    let chair = Chair::new(&[], &[]);
    let began = now();
    let patience = Duration::from_millis(50);
    let error = chair.ask_within(patience, 1, |_| true).await.unwrap_err();
    assert!(matches!(&error, Failure::Api(error) if error.code == ErrorCode::NotController), "{error}");
    assert!(began.elapsed() <= patience);
}
