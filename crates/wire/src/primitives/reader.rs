//! Checked reads from one frame.

use bytes::Bytes;

use super::{DecodeError, DecodeProblem, Records, Str};
use crate::ids::Uuid;

/// Room that an array takes before any of its elements has been read. More is taken as elements arrive, so
/// that a count alone never costs more than this.
const ARRAY_BYTES_RESERVED_MAX: usize = 16 * 1024;

/// Reads one frame from the front. Never panics; never allocates more than the bytes that remain can justify;
/// text and bytes are shared with the frame, not copied.
///
/// `field` names what is read, for the error. `flexible` chooses between the encodings of KIP-482 (lengths as
/// unsigned varints, one up) and the older ones. Nesting is bounded by the schema: no struct of it contains
/// itself.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    /// Where reading stops: the end of the frame, or of the tagged field that is being read.
    end: usize,
}

impl Reader {
    pub fn new(frame: Bytes) -> Reader {
        let end = frame.len();
        Reader { frame, at: 0, end }
    }

    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// All that has not been read, shared.
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.at..self.end)
    }

    /// Refuses bytes after the end of `message`.
    pub fn finish(&self, message: &'static str) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::new(message, DecodeProblem::TrailingBytes(left as u64))),
        }
    }

    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.fixed::<1>(field)? != [0])
    }

    pub fn i8(&mut self, field: &'static str) -> Result<i8, DecodeError> {
        self.fixed(field).map(i8::from_be_bytes)
    }

    pub fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.fixed(field).map(i16::from_be_bytes)
    }

    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.fixed(field).map(i32::from_be_bytes)
    }

    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.fixed(field).map(i64::from_be_bytes)
    }

    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.fixed(field).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.fixed(field).map(u32::from_be_bytes)
    }

    pub fn f64(&mut self, field: &'static str) -> Result<f64, DecodeError> {
        self.fixed(field).map(f64::from_be_bytes)
    }

    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid, DecodeError> {
        self.fixed(field).map(Uuid)
    }

    /// Unsigned varint of at most 32 bits.
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint_bits(field, 5)?;
        u32::try_from(value).map_err(|_| DecodeError::new(field, DecodeProblem::InvalidVarint))
    }

    /// Zigzag varint of at most 32 bits.
    pub fn varint(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        let value = self.uvarint(field)?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// Zigzag varint of at most 64 bits.
    pub fn varlong(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let value = self.varint_bits(field, 10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next `len` bytes, shared.
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<Bytes, DecodeError> {
        self.need(len, field)?;
        let start = self.at;
        self.at += len;
        Ok(self.frame.slice(start..self.at))
    }

    pub fn string(&mut self, flexible: bool, field: &'static str) -> Result<Str, DecodeError> {
        not_null(self.nullable_string(flexible, field)?, field)
    }

    pub fn nullable_string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Str>, DecodeError> {
        let len =
            if flexible { self.compact_length(field)? } else { length(self.i16(field)?.into(), field)? };
        let Some(len) = len else { return Ok(None) };
        let bytes = self.take(len, field)?;
        Str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::new(field, DecodeProblem::NotUtf8))
    }

    pub fn bytes(&mut self, flexible: bool, field: &'static str) -> Result<Bytes, DecodeError> {
        not_null(self.nullable_bytes(flexible, field)?, field)
    }

    pub fn nullable_bytes(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Bytes>, DecodeError> {
        match self.long_length(flexible, field)? {
            Some(len) => self.take(len, field).map(Some),
            None => Ok(None),
        }
    }

    pub fn records(&mut self, flexible: bool, field: &'static str) -> Result<Records, DecodeError> {
        self.bytes(flexible, field).map(Records::Bytes)
    }

    pub fn nullable_records(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flexible, field)?.map(Records::Bytes))
    }

    /// An array whose elements take `element_bytes_min` bytes or more each (0 counts as 1).
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        not_null(self.nullable_array(flexible, element_bytes_min, field, element)?, field)
    }

    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        mut element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.long_length(flexible, field)? else { return Ok(None) };
        if count > self.remaining() / element_bytes_min.max(1) {
            let problem =
                DecodeProblem::TooManyElements { count: count as u32, remaining: self.remaining() as u64 };
            return Err(DecodeError::new(field, problem));
        }
        let reserved = ARRAY_BYTES_RESERVED_MAX / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(count.min(reserved));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// A struct that may be null: one byte says so.
    pub fn nullable<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8(field)? < 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// A struct that may be null as the value of a tagged field. Kafka writes such a null as 0, not as -1; a
    /// struct that follows 1 is never empty, so that the two cannot be taken for each other.
    pub fn tagged_nullable<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8(field)? <= 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// The tagged fields at the end of a flexible struct. `known` reads the value of a tag it knows, all of
    /// it, and says whether it did; what it does not know is skipped (KIP-482).
    pub fn tagged_fields(
        &mut self,
        owner: &'static str,
        mut known: impl FnMut(&mut Reader, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint(owner)?;
        for _ in 0..count {
            let tag = self.uvarint(owner)?;
            let len = self.uvarint(owner)? as usize;
            self.need(len, owner)?;
            let outer = std::mem::replace(&mut self.end, self.at + len);
            let was_known = known(self, tag)?;
            if was_known && self.at != self.end {
                let distance = self.remaining() as i64;
                return Err(DecodeError::new(owner, DecodeProblem::TaggedFieldLength { tag, distance }));
            }
            self.at = self.end;
            self.end = outer;
        }
        Ok(())
    }

    /// The end of a flexible struct that has no tagged fields of its own.
    pub fn skip_tagged_fields(&mut self, owner: &'static str) -> Result<(), DecodeError> {
        self.tagged_fields(owner, |_, _| Ok(false))
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        match self.frame[self.at..self.end].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N, field)),
        }
    }

    fn varint_bits(&mut self, field: &'static str, bytes_max: usize) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for i in 0..bytes_max {
            let [byte] = self.fixed::<1>(field)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if i == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::new(field, DecodeProblem::InvalidVarint))
    }

    fn long_length(&mut self, flexible: bool, field: &'static str) -> Result<Option<usize>, DecodeError> {
        if flexible { self.compact_length(field) } else { length(self.i32(field)?, field) }
    }

    /// KIP-482: the length plus one, 0 is null.
    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint(field)?.checked_sub(1).map(|len| len as usize))
    }

    fn need(&self, len: usize, field: &'static str) -> Result<(), DecodeError> {
        if len > self.remaining() { Err(self.truncated(len, field)) } else { Ok(()) }
    }

    #[cold]
    fn truncated(&self, needed: usize, field: &'static str) -> DecodeError {
        let problem = DecodeProblem::Truncated { needed: needed as u64, remaining: self.remaining() as u64 };
        DecodeError::new(field, problem)
    }
}

/// The older encodings: -1 is null, what is below is not allowed.
fn length(len: i32, field: &'static str) -> Result<Option<usize>, DecodeError> {
    match len {
        -1 => Ok(None),
        _ => match usize::try_from(len) {
            Ok(len) => Ok(Some(len)),
            Err(_) => Err(DecodeError::new(field, DecodeProblem::InvalidLength(len))),
        },
    }
}

fn not_null<T>(value: Option<T>, field: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError { field, problem: DecodeProblem::UnexpectedNull })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    fn problem<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> DecodeProblem {
        result.unwrap_err().problem
    }

    #[test]
    fn varints_at_their_bounds() {
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint("f"), Ok(u32::MAX));
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint("f"), Ok(i32::MIN));
        assert_eq!(reader(&[0xfe, 0xff, 0xff, 0xff, 0x0f]).varint("f"), Ok(i32::MAX));
        assert_eq!(reader(&[0x01]).varint("f"), Ok(-1));
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(longest.to_vec().into()).varlong("f"), Ok(i64::MIN));
    }

    #[test]
    fn varints_that_are_too_long_or_too_large() {
        assert_eq!(
            problem(reader(&[0xff, 0xff, 0xff, 0xff, 0x10]).uvarint("f")),
            DecodeProblem::InvalidVarint
        );
        assert_eq!(problem(reader(&[0x80; 5]).uvarint("f")), DecodeProblem::InvalidVarint);
        assert_eq!(problem(reader(&[0x80; 10]).varlong("f")), DecodeProblem::InvalidVarint);
        assert_eq!(problem(reader(&[0xff; 10]).varlong("f")), DecodeProblem::InvalidVarint);
        let truncated = DecodeProblem::Truncated { needed: 1, remaining: 0 };
        assert_eq!(problem(reader(&[0x80, 0x80]).uvarint("f")), truncated);
    }

    #[test]
    fn lengths_in_both_encodings() {
        assert_eq!(reader(&[0, 1, b'a']).string(false, "f"), Ok("a".into()));
        assert_eq!(reader(&[2, b'a']).string(true, "f"), Ok("a".into()));
        assert_eq!(reader(&[0xff, 0xff]).nullable_string(false, "f"), Ok(None));
        assert_eq!(reader(&[0]).nullable_string(true, "f"), Ok(None));
        assert_eq!(problem(reader(&[0]).string(true, "f")), DecodeProblem::UnexpectedNull);
        assert_eq!(problem(reader(&[0xff, 0xfe]).string(false, "f")), DecodeProblem::InvalidLength(-2));
        assert_eq!(problem(reader(&[2, 0xff]).string(true, "f")), DecodeProblem::NotUtf8);
    }

    #[test]
    fn a_count_is_held_against_the_bytes_that_remain() {
        let mut counted = reader(&[0, 0, 0, 2, 0, 1, 0, 2]);
        assert_eq!(counted.array(false, 2, "f", |r| r.i16("f")), Ok(vec![1, 2]));
        let result = reader(&[0, 0, 0, 3, 0, 1, 0, 2]).array(false, 2, "f", |r| r.i16("f"));
        assert_eq!(problem(result), DecodeProblem::TooManyElements { count: 3, remaining: 4 });
        let result = reader(&[0x7f, 0xff, 0xff, 0xff]).array(false, 0, "f", |_| Ok(()));
        assert_eq!(problem(result), DecodeProblem::TooManyElements { count: i32::MAX as u32, remaining: 0 });
    }

    #[test]
    fn unknown_tagged_fields_are_skipped_and_known_ones_are_held_to_their_length() {
        let mut seen = Vec::new();
        let mut fields = reader(&[2, 0, 2, 0, 7, 5, 3, 1, 2, 3, 0x2a]);
        let read = |r: &mut Reader, tag| match tag {
            0 => r.i16("f").map(|value| seen.push(value)).map(|()| true),
            _ => Ok(false),
        };
        assert_eq!(fields.tagged_fields("f", read), Ok(()));
        assert_eq!(fields.i8("after"), Ok(0x2a));
        assert_eq!(seen, [7]);

        // The value may not reach beyond its field, nor stop before its end.
        let read = |r: &mut Reader, _| r.i16("f").map(|_| true);
        let beyond = reader(&[1, 0, 1, 0, 7]).tagged_fields("f", read);
        assert_eq!(problem(beyond), DecodeProblem::Truncated { needed: 2, remaining: 1 });
        let before = reader(&[1, 0, 3, 0, 7, 9]).tagged_fields("f", read);
        assert_eq!(problem(before), DecodeProblem::TaggedFieldLength { tag: 0, distance: 1 });
    }

    #[test]
    fn text_and_bytes_share_the_frame() {
        let frame = Bytes::from(vec![2, b'a', 3, 1, 2]);
        let mut reader = Reader::new(frame.clone());
        let text = reader.string(true, "f").unwrap();
        let bytes = reader.bytes(true, "f").unwrap();
        assert_eq!(text.as_bytes().as_ptr(), frame[1..].as_ptr());
        assert_eq!(bytes.as_ptr(), frame[3..].as_ptr());
        assert_eq!(reader.finish("f"), Ok(()));
    }
}
