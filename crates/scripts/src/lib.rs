//! Golden scripts: text files that tell what happens to a core, and below it what came of it.
//!
//! ```text
//! # The title of the story.
//!
//! append "a" acks=all
//! ----
//! 1: write 0..0 epoch 1
//! ```
//!
//! A script reads as the protocol, and is compared word for word with what the core does. With
//! `OTTLA_RECORD=1` in the environment scripts are written anew instead of compared; the diff of the commit
//! is then what is to be reviewed. For tests only.
//!
//! - [`command`]: one line of what happens, and its arguments.
//! - `script`: the text, its blocks, and the comparison.
//! - `diff`: how a mismatch is shown.
//! - [`play`]: the scripts of a folder.

pub mod command;
mod diff;
pub mod play;
mod script;

pub use command::Command;
pub use play::{Mode, play, play_as};

/// What the scripts of a folder are played on. Each script gets a new one.
pub trait Stage {
    /// Does what a command says and adds what came of it to `out`, one line each. Fails for a command that
    /// makes no sense: such a script is wrong, and cannot be recorded either.
    fn run(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String>;
}
