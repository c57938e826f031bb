//! Writes a measured message once, into one allocation, and leaves large records where they are.

use bytes::Bytes;

use super::{EncodeError, Records, Sink, Size};

/// From this size on, records are a part of their own and not copied: below, a copy costs less than a longer
/// `writev`.
pub const SHARED_RECORDS_BYTES_MIN: usize = 4 * 1024;

/// An encoded message or frame: what is to be sent, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Bytes(Bytes),
    /// `len` bytes that the sender takes from elsewhere: see [`Records::Gap`].
    Gap {
        id: u32,
        len: u32,
    },
}

impl Encoded {
    /// Length in bytes, gaps included.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All in one piece; copies if there is more than one part.
    pub fn into_bytes(mut self) -> Result<Bytes, EncodeError> {
        if let [Part::Bytes(bytes)] = self.parts.as_mut_slice() {
            return Ok(std::mem::take(bytes));
        }
        let mut joined = Vec::with_capacity(self.len());
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => joined.extend_from_slice(bytes),
                Part::Gap { .. } => return Err(EncodeError::Gap),
            }
        }
        Ok(joined.into())
    }
}

impl Part {
    pub fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Gap { len, .. } => *len as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The sink that writes. It should be given the [`Size`] that a [`super::Sizer`] found for the same values
/// and version: that is its one allocation.
#[derive(Debug)]
pub struct Writer {
    inline: Vec<u8>,
    /// Parts that are not inline, each with the place in `inline` before which it goes.
    others: Vec<(usize, Part)>,
}

impl Writer {
    pub fn new(size: Size) -> Writer {
        Writer { inline: Vec::with_capacity(size.inline), others: Vec::new() }
    }

    /// Makes room for what has been measured, behind what is there.
    pub fn reserve(&mut self, size: Size) {
        self.inline.reserve(size.inline);
    }

    /// Bytes written so far, in total.
    pub fn len(&self) -> usize {
        self.inline.len() + self.others.iter().map(|(_, part)| part.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn finish(self) -> Encoded {
        let inline = Bytes::from(self.inline);
        if self.others.is_empty() {
            return Encoded { parts: vec![Part::Bytes(inline)] };
        }
        let mut parts = Vec::with_capacity(2 * self.others.len() + 1);
        let mut from = 0;
        for (at, part) in self.others {
            if at > from {
                parts.push(Part::Bytes(inline.slice(from..at)));
                from = at;
            }
            parts.push(part);
        }
        if from < inline.len() {
            parts.push(Part::Bytes(inline.slice(from..)));
        }
        Encoded { parts }
    }

    fn piece(&mut self, bytes: &Bytes, shared: bool) {
        if shared && !bytes.is_empty() {
            self.others.push((self.inline.len(), Part::Bytes(bytes.clone())));
        } else {
            self.inline.extend_from_slice(bytes);
        }
    }
}

impl Sink for Writer {
    #[inline]
    fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.inline.extend_from_slice(&bytes);
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.inline.extend_from_slice(bytes);
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.inline.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.inline.push(value as u8);
    }

    fn payload(&mut self, records: &Records) {
        let shared = is_shared(records);
        match records {
            Records::Bytes(bytes) => self.piece(bytes, shared),
            Records::Chain(pieces) => pieces.iter().for_each(|bytes| self.piece(bytes, shared)),
            Records::Gap { len: 0, .. } => {}
            Records::Gap { id, len } => {
                self.others.push((self.inline.len(), Part::Gap { id: *id, len: *len }))
            }
        }
    }
}

/// Whether `records` become parts of their own.
pub(super) fn is_shared(records: &Records) -> bool {
    matches!(records, Records::Gap { .. }) || records.len() >= SHARED_RECORDS_BYTES_MIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{FetchResponse, ResponseHeader, fetch_response};
    use crate::primitives::{Sizer, encode_frame};

    /// A response with one partition for each of `records`.
    fn response(records: Vec<Records>) -> FetchResponse {
        let partition =
            |records| fetch_response::PartitionData { records: Some(records), ..Default::default() };
        let topic = fetch_response::FetchableTopicResponse {
            partitions: records.into_iter().map(partition).collect(),
            ..Default::default()
        };
        FetchResponse { responses: vec![topic], ..Default::default() }
    }

    fn frame(records: Vec<Records>) -> Encoded {
        let header = ResponseHeader { correlation_id: 7 };
        encode_frame((&header, 1), (&response(records), 13)).unwrap()
    }

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![0xab; len])
    }

    #[test]
    fn large_records_are_not_copied() {
        let (first, second) = (bytes(SHARED_RECORDS_BYTES_MIN), bytes(10_000));
        let encoded =
            frame(vec![Records::Bytes(first.clone()), Records::Chain(vec![second.clone(), second.clone()])]);
        let shared = |part: &Part, of: &Bytes| matches!(part, Part::Bytes(b) if b.as_ptr() == of.as_ptr());
        assert_eq!(encoded.parts.len(), 6);
        assert!(shared(&encoded.parts[1], &first));
        assert!(shared(&encoded.parts[3], &second) && shared(&encoded.parts[4], &second));
    }

    #[test]
    fn small_records_are_one_part_with_the_rest() {
        let chain = Records::Chain(vec![bytes(100), bytes(100)]);
        let encoded = frame(vec![Records::Bytes(bytes(SHARED_RECORDS_BYTES_MIN - 1)), chain]);
        assert_eq!(encoded.parts.len(), 1);
    }

    #[test]
    fn the_length_before_a_frame_counts_everything() {
        let gap = Records::Gap { id: 3, len: 1_000_000 };
        let encoded = frame(vec![gap, Records::Bytes(bytes(5000)), Records::Gap { id: 4, len: 0 }]);
        let Part::Bytes(first) = &encoded.parts[0] else { panic!("{encoded:?}") };
        let length = i32::from_be_bytes(*first.first_chunk().unwrap());
        assert_eq!(length as usize, encoded.len() - 4);
        assert_eq!(encoded.parts[1], Part::Gap { id: 3, len: 1_000_000 });
        assert_eq!(encoded.into_bytes(), Err(EncodeError::Gap));
    }

    /// However the records are held, the bytes are the same.
    #[test]
    fn chained_records_are_the_bytes_in_one_piece() {
        for len in [0, 10, 5000] {
            let whole = Records::Bytes(bytes(2 * len));
            let chain = Records::Chain(vec![bytes(len), Bytes::new(), bytes(len)]);
            assert_eq!(frame(vec![whole]).into_bytes(), frame(vec![chain]).into_bytes());
        }
    }

    #[test]
    fn uvarints_are_as_long_as_measured() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut sizer = Sizer::default();
            sizer.uvarint(value);
            let mut writer = Writer::new(sizer.size());
            writer.uvarint(value);
            assert_eq!(writer.len(), sizer.size().total(), "{value}");
        }
    }
}
