//! An ack is a promise. acks=all: the records are committed, where the answer says (and what is committed
//! stays, as others watch over). acks=1: the leader has flushed them, where that is asked for.

use ottla_replica::{Acks, Durability};

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Verdict};
use crate::client::ClientFact;
use crate::node::Fact;

#[derive(Default)]
pub struct AcknowledgedIsCommitted;

impl Invariant for AcknowledgedIsCommitted {
    fn name(&self) -> &'static str {
        "an ack is a promise"
    }

    fn promised(&mut self, fact: &Fact, scene: &Scene<'_>) -> Verdict {
        let Fact::Promised { acks, last_offset, durable_end, high_watermark } = *fact;
        let flushed = scene.settings.durability == Durability::PageCache || durable_end > last_offset;
        match acks {
            Acks::None => Ok(()),
            Acks::Leader | Acks::InSync if !flushed => {
                Err(format!("{last_offset} was acknowledged with {durable_end} flushed"))
            }
            Acks::InSync if high_watermark <= last_offset => {
                Err(format!("{last_offset} was acknowledged below the high watermark {high_watermark}"))
            }
            Acks::Leader | Acks::InSync => Ok(()),
        }
    }

    fn client(&mut self, fact: &ClientFact, _: &Scene<'_>, ledger: &Ledger) -> Verdict {
        match fact {
            ClientFact::Acked { values, acks: Acks::InSync, base_offset } => {
                let held =
                    (0..).zip(values).all(|(n, value)| ledger.value(base_offset.plus(n)) == Some(*value));
                let found = ledger.holding(*base_offset).map(|batch| &batch.values);
                if held { Ok(()) } else { Err(format!("{values:?} at {base_offset}: there is {found:?}")) }
            }
            ClientFact::Surprise(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }
}
