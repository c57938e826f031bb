//! Classic groups.

mod client;
mod join;
