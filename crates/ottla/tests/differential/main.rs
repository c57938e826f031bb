//! Kafka and Ottla are asked the same questions, and must answer alike.
//!
//! A script is a sequence of raw requests. What Kafka answered is kept in `golden/`, and every run plays the
//! scripts to Ottla and compares. With `OTTLA_KAFKA=HOST:PORT` they are played to that Kafka instead
//! (`bench/kafka/run ... --set group.initial.rebalance.delay.ms=0` starts one), to see that the files are
//! still true; `OTTLA_RECORD=1` writes them. Where Ottla differs on purpose the file holds its answer below
//! Kafka's, and the reason.
// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

mod classic;
mod consumer;
mod coordinators;
mod cross;
mod golden;
// What these tests do not use of it is used by the others.
#[allow(dead_code, unused_imports)]
#[path = "../blackbox/harness/mod.rs"]
mod harness;
mod in_between;
mod listings;
mod names;
mod offsets;
mod play;
mod repeats;
mod requests;
mod static_members;
mod tidy;
