//! The connection layer over real loopback sockets.
// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

mod end;
mod files;
mod frames;
mod limits;
mod stage;
mod steady;
