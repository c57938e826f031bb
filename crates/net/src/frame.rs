//! One request frame, and the admission it holds.

use bytes::Bytes;

use crate::admission::Permit;

/// The body of one request, without its length prefix.
///
/// It holds its share of the admission pool until it, and every [`Permit`] taken from it, is dropped. A
/// service MUST drop a frame (and what it sliced from it) as soon as it is decoded and stored: the frames of
/// one read share one buffer and one admission, and both are given back when the last of them goes.
#[derive(Debug)]
pub struct Frame {
    /// Everything after the length prefix: request header and body. May be empty.
    pub bytes: Bytes,
    permit: Permit,
}

impl Frame {
    pub(crate) fn new(bytes: Bytes, permit: Permit) -> Frame {
        Frame { bytes, permit }
    }

    /// A frame that no pool counts: for what does not come from a socket, such as tests of a service.
    pub fn unmetered(bytes: Bytes) -> Frame {
        Frame { bytes, permit: Permit::none() }
    }

    /// The bytes, and the admission to keep for as long as slices of the bytes are kept.
    pub fn into_parts(self) -> (Bytes, Permit) {
        (self.bytes, self.permit)
    }
}
