//! The connection layer over real loopback sockets, and the same tests over streams that are not plain.
// `cfg(test)` tells clippy that helpers here are test code, too.
#![cfg(test)]

mod end;
mod files;
mod frames;
mod handshake;
mod honest;
mod limits;
mod silent;
mod stage;
mod steady;
mod veiled;
