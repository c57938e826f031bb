//! `ottla txn`: list, describe and abort transactions, find those that hang, fence producers.

mod abort;
mod args;
mod describe;
mod fence;
mod hanging;
mod list;

use ottla_client::{Admin, Error};
use ottla_wire::Timestamp;
use ottla_wire::protocol::ErrorCode;

use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::{Style, complain};
use crate::time::Time;
pub use args::TxnArgs;
use args::TxnCommand;

pub async fn run(args: TxnArgs) -> Result<Exit, Failure> {
    let style = Style::of(args.output);
    // To ask for a topic must not create it.
    let admin = Admin::on(cluster::connect(&args.cluster, false).await?);
    match args.command {
        TxnCommand::List(list) => list::run(&admin, style, list).await,
        TxnCommand::Describe { ids } => describe::run(&admin, style, &ids).await,
        TxnCommand::Hanging(hanging) => hanging::run(&admin, style, hanging).await,
        TxnCommand::Abort(abort) => abort::run(&admin, style, abort).await,
        TxnCommand::Fence { ids } => fence::run(&admin, style, &ids).await,
    }
}

/// Tells what became of one thing, when that is not what was wanted.
fn complain_of(what: &str, error: &Error) {
    let failure = failure_of(error);
    let hint = failure.hint.map(|hint| format!("\nhint:  {hint}")).unwrap_or_default();
    complain(&format!("error: {what}: {}{hint}\n", failure.what));
}

/// The failure with what to do about it, where that is special to transactions.
fn failure_of(error: &Error) -> Failure {
    let failure = Failure::from(error.clone());
    match error.code() {
        Some(ErrorCode::TransactionalIdNotFound) => {
            failure.hint("`ottla txn list` shows the transactional ids")
        }
        Some(ErrorCode::InvalidProducerEpoch) => {
            failure.hint("the producer has another epoch by now: `ottla txn hanging` shows what there is")
        }
        Some(ErrorCode::TransactionCoordinatorFenced) => {
            failure.hint("a later coordinator has written there: `ottla txn hanging` shows its epoch")
        }
        Some(ErrorCode::ConcurrentTransactions) => {
            failure.hint("the transaction is just being ended; --timeout SECONDS waits longer")
        }
        _ => failure,
    }
}

fn now() -> Timestamp {
    Time::AgoMs(0).resolve()
}

/// How long ago something was: for people in one unit, for programs in milliseconds.
fn age(style: Style, ms: i64) -> String {
    match style {
        Style::Plain | Style::Json => ms.to_string(),
        Style::Terminal { .. } => match ms {
            ..1_000 => format!("{ms} ms"),
            1_000..120_000 => format!("{} s", ms / 1_000),
            120_000..7_200_000 => format!("{} min", ms / 60_000),
            7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
            172_800_000.. => format!("{} d", ms / 86_400_000),
        },
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use ottla_client::ApiError;

    use super::*;

    #[test]
    fn ages_are_short_for_people() {
        let cases = [
            (7, "7 ms"),
            (1_500, "1 s"),
            (119_999, "119 s"),
            (900_000, "15 min"),
            (7_200_000, "2 h"),
            (604_800_000, "7 d"),
        ];
        for (ms, text) in cases {
            assert_eq!(age(Style::Terminal { colour: false }, ms), text);
            assert_eq!(age(Style::Plain, ms), ms.to_string());
        }
    }

    #[test]
    fn errors_say_where_to_look() {
        let cases = [
            (ErrorCode::TransactionalIdNotFound, "ottla txn list"),
            (ErrorCode::InvalidProducerEpoch, "ottla txn hanging"),
            (ErrorCode::TransactionCoordinatorFenced, "ottla txn hanging"),
            (ErrorCode::ConcurrentTransactions, "--timeout"),
            (ErrorCode::UnknownTopicOrPartition, "ottla topic list"),
        ];
        for (code, hint) in cases {
            let failure = failure_of(&Error::Api(ApiError { code, message: None }));
            assert!(failure.hint.clone().unwrap().contains(hint), "{failure:?}");
        }
    }
}
