//! `ottla consume`: prints records.
//!
//! - [`args`]: what may be said.
//! - [`alone`]: reads given partitions; [`member`]: reads as a member of a group, and [`share`] tells what it
//!   has of it.
//! - [`begin`]: where to begin and where to stop; [`polling`]: what is done again and again; [`format`]:
//!   records as text.

mod alone;
mod args;
mod begin;
mod format;
mod member;
mod polling;
mod share;

use crate::exit::{Exit, Failure};
pub use args::ConsumeArgs;

pub async fn run(args: ConsumeArgs) -> Result<Exit, Failure> {
    match args.group.group.clone() {
        Some(group) => member::run(args, group).await,
        None => alone::run(args).await,
    }
}
