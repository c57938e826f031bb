//! The cluster's truth as data: the metadata image, and every decision about them.
//!
//! Pure: no clock, no files, no randomness. Time and ids are given with each call, so the same calls give the
//! same records. The driver proposes the records to the metadata log and answers the client once they are
//! applied.
//!
//! - [`image`]: the immutable picture of the cluster that the records of the metadata log add up to.
//! - [`controller`]: requests in, records and responses out; one file for each kind of request.

pub mod controller;
pub mod image;

pub use controller::{Call, Controller, IdSource, Outcome, Request, Response};
pub use image::{Delta, Image, Partition, Registration, Topic};
