//! `ottla group`: what consumer groups do, how far they are, and where they go on.
//!
//! - [`args`]: what may be said; a file for each command.
//! - `offsets`: offsets of partitions and of groups, for all of them; `lag`: how old is what a group reads
//!   next.

mod args;
mod delete;
mod delete_offsets;
mod describe;
mod history;
mod lag;
mod list;
mod offsets;
mod reset;
mod story;

use ottla_client::Admin;

use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::Style;
pub use args::GroupArgs;
use args::GroupCommand;

pub async fn run(args: GroupArgs) -> Result<Exit, Failure> {
    let style = Style::of(args.output);
    let admin = async || -> Result<Admin, Failure> {
        // To ask for a topic must not create it.
        Ok(Admin::on(cluster::connect(&args.cluster, false).await?))
    };
    match args.command {
        GroupCommand::List(list) => list::run(&admin().await?, style, list).await,
        GroupCommand::Describe(describe) => describe::run(&admin().await?, style, describe).await,
        GroupCommand::ResetOffsets(reset) => reset::run(&admin().await?, style, reset).await,
        GroupCommand::DeleteOffsets(delete) => delete_offsets::run(&admin().await?, style, delete).await,
        GroupCommand::Delete { groups } => delete::run(&admin().await?, style, groups).await,
        // Over HTTP: it needs no connection to the cluster.
        GroupCommand::History(history) => history::run(style, &history, args.cluster.timeout).await,
    }
}
