//! The payload of Produce and Fetch.

use bytes::Bytes;

/// Record batches as a field of a message. Reading gives [`Records::Bytes`]; a response may be made of any.
///
/// Equality is of the form, not of the content: a chain is not equal to the same bytes in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    Bytes(Bytes),
    /// Pieces that follow each other.
    Chain(Vec<Bytes>),
    /// A place of `len` bytes that the sender fills by other means, from a file. `id` is the sender's.
    Gap {
        id: u32,
        len: u32,
    },
}

impl Records {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::Chain(pieces) => pieces.iter().map(Bytes::len).sum(),
            Records::Gap { len, .. } => *len as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}
