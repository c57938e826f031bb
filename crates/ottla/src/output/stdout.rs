//! Where answers go.

use std::io::{self, Write};

use crate::exit::Failure;

/// Writes to stdout. `false`: nobody reads it any more (`| head`), which is no error; the command can end.
pub fn print(text: impl AsRef<[u8]>) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}
