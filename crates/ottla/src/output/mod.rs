//! How commands answer: tables and colour at a terminal, plain columns in a pipe, JSON for machines.
//!
//! - [`style`]: which of them it is; [`table`]: rows; [`text`]: single values.
//! - [`stdout`]: where answers go; [`stderr`]: where complaints go.

mod stderr;
mod stdout;
mod style;
mod table;
mod text;

pub use stderr::complain;
pub use stdout::print;
pub use style::{Style, colour_on_stderr};
pub use table::{Align, Table};
pub use text::{bytes_for_people, json_line, or_dash, visible};
