//! `ottla topic`: create, list, describe and delete topics.

mod args;
mod create;
mod delete;
mod describe;
mod internal;
mod list;

use ottla_client::Admin;

use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::output::Style;
pub use args::TopicArgs;
use args::TopicCommand;

pub async fn run(args: TopicArgs) -> Result<Exit, Failure> {
    let style = Style::of(args.output);
    // To ask for a topic must not create it.
    let admin = Admin::on(cluster::connect(&args.cluster, false).await?);
    match args.command {
        TopicCommand::Create(create) => create::run(&admin, style, create).await,
        TopicCommand::List => list::run(&admin, style).await,
        TopicCommand::Describe { names } => describe::run(&admin, style, names).await,
        TopicCommand::Delete { names, if_exists, force } => {
            internal::permit("delete", &names, force)?;
            delete::run(&admin, style, &names, if_exists).await
        }
    }
}
