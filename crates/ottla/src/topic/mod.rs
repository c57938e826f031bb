//! `ottla topic`: create, list, describe and delete topics.

mod create;
mod delete;
mod describe;
mod list;

use ottla_client::{Admin, ApiError};

use crate::args::{TopicArgs, TopicCommand};
use crate::cluster;
use crate::exit::{Exit, Failure, hint_for};
use crate::output::{Style, complain};

pub async fn run(args: TopicArgs) -> Result<Exit, Failure> {
    let style = Style::of(args.output);
    // To ask for a topic must not create it.
    let admin = Admin::on(cluster::connect(&args.cluster, false).await?);
    match args.command {
        TopicCommand::Create(create) => create::run(&admin, style, create).await,
        TopicCommand::List => list::run(&admin, style).await,
        TopicCommand::Describe { names } => describe::run(&admin, style, names).await,
        TopicCommand::Delete { names, if_exists } => delete::run(&admin, style, &names, if_exists).await,
    }
}

/// Tells what became of one topic, when that is not what was wanted.
fn complain_of(name: &str, error: &ApiError) {
    let hint = hint_for(error.code).map(|hint| format!("\nhint:  {hint}")).unwrap_or_default();
    complain(&format!("error: topic {name}: {error}{hint}\n"));
}
