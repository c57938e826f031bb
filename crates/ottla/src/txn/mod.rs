//! `ottla txn`: list, describe and abort transactions, find those that hang, fence producers.

mod abort;
mod age;
mod args;
mod describe;
mod failure;
mod fence;
mod hanging;
mod list;

use ottla_client::Admin;

use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::Style;
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
