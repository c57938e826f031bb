//! One description of how a message is written, for two readers of it: the one that measures and the one that
//! writes.

use super::{EncodeError, Records, Str};
use crate::ids::Uuid;

/// Where the fields of a message go: [`Sizer`] adds up their lengths, [`super::Writer`] writes them. Since
/// both are driven by the same code, what was measured is what is written.
pub trait Sink: Sized {
    /// Bytes of a length known when compiled.
    fn fixed<const N: usize>(&mut self, bytes: [u8; N]);

    fn raw(&mut self, bytes: &[u8]);

    fn uvarint(&mut self, value: u32);

    /// The payload of a `records` field, without its length.
    fn payload(&mut self, records: &Records);

    fn bool(&mut self, value: bool) {
        self.fixed([u8::from(value)]);
    }

    fn i8(&mut self, value: i8) {
        self.fixed(value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.fixed(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.fixed(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.fixed(value.to_be_bytes());
    }

    fn u16(&mut self, value: u16) {
        self.fixed(value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.fixed(value.to_be_bytes());
    }

    fn f64(&mut self, value: f64) {
        self.fixed(value.to_be_bytes());
    }

    fn uuid(&mut self, value: Uuid) {
        self.fixed(value.0);
    }

    fn string(&mut self, flexible: bool, text: &Str, field: &'static str) -> Result<(), EncodeError> {
        self.nullable_string(flexible, Some(text), field)
    }

    fn nullable_string(
        &mut self,
        flexible: bool,
        text: Option<&Str>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if flexible {
            self.compact_length(text.map(Str::len), field)?;
        } else {
            let length = text.map_or(Ok(-1), |text| i16::try_from(text.len()));
            self.i16(length.map_err(|_| too_long(field, text.map_or(0, Str::len)))?);
        }
        if let Some(text) = text {
            self.raw(text.as_bytes());
        }
        Ok(())
    }

    fn bytes(&mut self, flexible: bool, bytes: &[u8], field: &'static str) -> Result<(), EncodeError> {
        self.nullable_bytes(flexible, Some(bytes), field)
    }

    fn nullable_bytes(
        &mut self,
        flexible: bool,
        bytes: Option<&[u8]>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        self.long_length(flexible, bytes.map(<[u8]>::len), field)?;
        if let Some(bytes) = bytes {
            self.raw(bytes);
        }
        Ok(())
    }

    fn records(&mut self, flexible: bool, records: &Records, field: &'static str) -> Result<(), EncodeError> {
        self.nullable_records(flexible, Some(records), field)
    }

    fn nullable_records(
        &mut self,
        flexible: bool,
        records: Option<&Records>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        self.long_length(flexible, records.map(Records::len), field)?;
        if let Some(records) = records {
            self.payload(records);
        }
        Ok(())
    }

    fn array<T>(
        &mut self,
        flexible: bool,
        elements: &[T],
        field: &'static str,
        element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.nullable_array(flexible, Some(elements), field, element)
    }

    fn nullable_array<T>(
        &mut self,
        flexible: bool,
        elements: Option<&[T]>,
        field: &'static str,
        mut element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.long_length(flexible, elements.map(<[T]>::len), field)?;
        for value in elements.unwrap_or_default() {
            element(self, value)?;
        }
        Ok(())
    }

    /// A struct that may be null: one byte says so.
    fn nullable<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                write(self, value)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// A struct that may be null as the value of a tagged field, where null is 0.
    fn tagged_nullable<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.i8(i8::from(value.is_some()));
        value.map_or(Ok(()), |value| write(self, value))
    }

    /// The head of a tagged field whose value is `len` bytes long. Tags MUST come in rising order.
    fn tag(&mut self, tag: u32, len: u32) {
        self.uvarint(tag);
        self.uvarint(len);
    }

    fn long_length(
        &mut self,
        flexible: bool,
        len: Option<usize>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if flexible {
            return self.compact_length(len, field);
        }
        let length = len.map_or(Ok(-1), i32::try_from);
        self.i32(length.map_err(|_| too_long(field, len.unwrap_or(0)))?);
        Ok(())
    }

    /// KIP-482: the length plus one, 0 is null. Kafka's lengths are signed, so 2^31-1 is the most.
    fn compact_length(&mut self, len: Option<usize>, field: &'static str) -> Result<(), EncodeError> {
        let Some(len) = len else {
            self.uvarint(0);
            return Ok(());
        };
        let length = i32::try_from(len).map_err(|_| too_long(field, len))?;
        self.uvarint(length as u32 + 1);
        Ok(())
    }
}

/// The length of an encoded message, by what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes that are written one after the other.
    pub inline: usize,
    /// Bytes that are shared or come from elsewhere.
    pub shared: usize,
}

impl Size {
    pub fn total(self) -> usize {
        self.inline + self.shared
    }
}

/// The sink that measures.
#[derive(Debug, Default)]
pub struct Sizer {
    size: Size,
}

impl Sizer {
    pub fn size(&self) -> Size {
        self.size
    }
}

impl Sink for Sizer {
    #[inline]
    fn fixed<const N: usize>(&mut self, _: [u8; N]) {
        self.size.inline += N;
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.size.inline += bytes.len();
    }

    #[inline]
    fn uvarint(&mut self, value: u32) {
        self.size.inline += uvarint_len(value);
    }

    fn payload(&mut self, records: &Records) {
        if super::writer::is_shared(records) {
            self.size.shared += records.len();
        } else {
            self.size.inline += records.len();
        }
    }
}

/// Bytes of `value` as unsigned varint: 1 to 5.
fn uvarint_len(value: u32) -> usize {
    let bits = 32 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// The length of a tagged field's value, which stands before it.
pub fn tag_size(write: impl FnOnce(&mut Sizer) -> Result<(), EncodeError>) -> Result<u32, EncodeError> {
    let mut sizer = Sizer::default();
    write(&mut sizer)?;
    let len = sizer.size.total();
    u32::try_from(len).map_err(|_| EncodeError::FrameTooLong(len as u64))
}

/// A field that `version` lacks and that may not be dropped silently MUST have its default value.
pub fn absent_unless(is_default: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_default { Ok(()) } else { Err(EncodeError::FieldNotInVersion { field, version }) }
}

/// The value of a field that may be null, but not in `version`.
pub fn present<'a, T: ?Sized>(
    value: Option<&'a T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, EncodeError> {
    value.ok_or(EncodeError::NullNotInVersion { field, version })
}

#[cold]
fn too_long(field: &'static str, length: usize) -> EncodeError {
    EncodeError::TooLong { field, length: length as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uvarint_lengths() {
        for (value, len) in
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (1 << 28, 5), (u32::MAX, 5)]
        {
            assert_eq!(uvarint_len(value), len, "{value}");
        }
    }
}
