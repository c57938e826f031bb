//! DescribeTransactions and ListTransactions (KIP-664, KIP-994, KIP-1152).

use ottla_wire::messages::describe_transactions_response::{TopicData, TransactionState};
use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse, list_transactions_response};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Timestamp};
use regex::{Regex, RegexBuilder};

use crate::coordinator::check_id;
use crate::error::TxnError;
use crate::state::{StateFilter, TxnState};
use crate::table::Table;
use crate::transaction::Transaction;

/// Bytes of a pattern for transactional ids.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// Bytes that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// One transactional id.
pub(crate) fn describe(table: &Table, id: &Str) -> TransactionState {
    let found = check_id(id).and_then(|()| table.get(id).ok_or(TxnError::NotFound));
    let transaction = match found {
        Ok(transaction) => transaction,
        Err(why) => {
            return TransactionState {
                error_code: why.code().into(),
                transactional_id: id.clone(),
                ..TransactionState::default()
            };
        }
    };
    let topics = transaction.partitions.by_topic();
    TransactionState {
        error_code: ErrorCode::None.into(),
        transactional_id: id.clone(),
        transaction_state: transaction.state.name(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.started.0,
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.epoch.0,
        topics: topics.map(|(topic, partitions)| TopicData { topic: topic.clone(), partitions }).collect(),
    }
}

/// All transactional ids that pass every filter.
pub(crate) fn list(
    table: &Table,
    now: Timestamp,
    request: &ListTransactionsRequest,
) -> ListTransactionsResponse {
    let pattern = match compile(request.transactional_id_pattern.as_deref()) {
        Ok(pattern) => pattern,
        Err(why) => {
            return ListTransactionsResponse {
                error_code: why.code().into(),
                ..ListTransactionsResponse::default()
            };
        }
    };
    let (mut states, mut unknown_state_filters) = (Vec::new(), Vec::new());
    for name in &request.state_filters {
        match StateFilter::parse(name) {
            Some(StateFilter::Held(state)) => states.push(state),
            Some(StateFilter::NeverHeld) => {}
            None => unknown_state_filters.push(name.clone()),
        }
    }
    let filters = Filters { request, states, pattern, now };
    let transactions = table.iter().filter(|(id, transaction)| filters.pass(id, transaction));
    ListTransactionsResponse {
        unknown_state_filters,
        transaction_states: transactions
            .map(|(id, transaction)| list_transactions_response::TransactionState {
                transactional_id: id.clone(),
                producer_id: transaction.producer_id.0,
                transaction_state: transaction.state.name(),
            })
            .collect(),
        ..ListTransactionsResponse::default()
    }
}

struct Filters<'a> {
    request: &'a ListTransactionsRequest,
    /// Those of the filters that a transaction can be in.
    states: Vec<TxnState>,
    pattern: Option<Regex>,
    now: Timestamp,
}

impl Filters<'_> {
    fn pass(&self, id: &str, transaction: &Transaction) -> bool {
        let producers = &self.request.producer_id_filters;
        // Unknown state names count, too: they match nothing.
        (self.request.state_filters.is_empty() || self.states.contains(&transaction.state))
            && (producers.is_empty() || producers.contains(&transaction.producer_id.0))
            && self.is_old_enough(transaction)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    }

    /// Below 0 the filter is off. An id without a transaction has no running time.
    fn is_old_enough(&self, transaction: &Transaction) -> bool {
        let wanted_ms = self.request.duration_filter;
        let begun = transaction.started != Timestamp::NONE;
        wanted_ms < 0 || (begun && self.now.0.saturating_sub(transaction.started.0) > wanted_ms)
    }
}

/// A pattern must match the whole id. Without one, or with an empty one, every id matches.
fn compile(pattern: Option<&str>) -> Result<Option<Regex>, TxnError> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else { return Ok(None) };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(TxnError::Pattern);
    }
    // First on its own, so that it cannot depend on the text around it.
    build(pattern)?;
    build(&format!("^(?:{pattern})$")).map(Some)
}

fn build(pattern: &str) -> Result<Regex, TxnError> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build().map_err(|_| TxnError::Pattern)
}
