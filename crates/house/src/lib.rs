//! What holds for the sources of all rooms, read from the sources themselves.
//!
//! A file that can be reached from each file that it imports is part of a circle: none of them can be
//! understood, tested or moved without the others. The law (`tests/imports.rs`) keeps circles small.
//!
//! - [`tokens`]: the words of a source file, without comments, strings and tests.
//! - [`module`]: what one module declares, imports and names.
//! - [`tree`]: the modules of a crate, and which file a path leads to: re-exports are followed to where a
//!   name is at home.
//! - [`circles`]: the circles among the files of a crate.
//! - [`workspace`]: the files of the workspace.
//!
//! Paths are read as the compiler reads them, with one exception: what a macro makes is taken to be at home
//! where the macro is called.

pub mod circles;
pub mod module;
pub mod tokens;
pub mod tree;
pub mod workspace;

pub use circles::{Circle, circles};
pub use tree::{Arrow, Tree};
