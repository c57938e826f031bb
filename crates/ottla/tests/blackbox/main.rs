//! The released shape of Ottla, from outside: the real binary on a real disk, with kills, full disks, failing
//! flushes and hostile peers.
//!
//! One file for each idea; `harness` starts brokers and speaks to them. `OTTLA_SOAK=1` makes the tests that
//! repeat something repeat it more often.
// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

mod acks_none;
mod api_table;
mod benign;
mod data_dir;
mod delete_records;
mod descriptors;
mod fsync;
mod full_disk;
mod group_cli;
mod groups;
mod harness;
mod hostile;
mod idempotence;
mod kill;
mod limits;
mod listeners;
mod many_partitions;
mod order;
mod retention;
mod stop;
mod stored_as;
mod topics;
mod torn_tail;
mod transactions;
