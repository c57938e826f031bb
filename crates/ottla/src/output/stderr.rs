//! Where complaints go.

use std::io::{self, Write};

/// Writes to stderr as it is.
pub fn complain(text: &str) {
    // There is nobody left to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}
