//! Text that shares the frame it was read from.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// An immutable UTF-8 string over shared bytes: a clone copies nothing.
///
/// One that was read from a frame keeps the whole frame in memory. What outlives its request (a name in a
/// map) SHOULD be detached first: [`Str::detached`].
#[derive(Clone, Default)]
pub struct Str {
    /// Always UTF-8: every constructor has checked.
    bytes: Bytes,
}

impl Str {
    pub const fn from_static(text: &'static str) -> Str {
        Str { bytes: Bytes::from_static(text.as_bytes()) }
    }

    /// Shares `bytes` if they are UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Str, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Str { bytes })
    }

    pub fn as_str(&self) -> &str {
        // Checked again because `from_utf8_unchecked` is unsafe, which this crate forbids. Names are short.
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(_) => unreachable!("every constructor has checked that the bytes are UTF-8"),
        }
    }

    /// A copy that does not keep the frame alive.
    pub fn detached(&self) -> Str {
        Str { bytes: Bytes::copy_from_slice(&self.bytes) }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The shared bytes of the text.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str { bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str { bytes: Bytes::from(text) }
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Str {
        Str::from(text.as_str())
    }
}

impl From<Str> for String {
    fn from(text: Str) -> String {
        text.as_str().to_owned()
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Str) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    // The order of UTF-8 text is the order of its bytes.
    fn cmp(&self, other: &Str) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Hash for Str {
    // As `str` does, because `Borrow<str>` promises the same hash.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn behaves_as_the_str_it_holds() {
        let name = Str::from("orders");
        assert_eq!(name, "orders");
        assert_eq!(format!("{name} {name:?}"), "orders \"orders\"");
        assert!(name < Str::from_static("p"));
        assert_eq!(name.strip_prefix("ord"), Some("ers"));
        assert_eq!(Str::default(), Str::from_static(""));
    }

    #[test]
    fn is_found_in_a_map_by_str() {
        let map = HashMap::from([(Str::from("a"), 1), (Str::from(String::from("ü世😀")), 2)]);
        assert_eq!(map.get("a"), Some(&1));
        assert_eq!(map.get("ü世😀"), Some(&2));
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        assert!(Str::from_utf8(Bytes::from_static(&[0xff])).is_err());
        assert!(Str::from_utf8(Bytes::from_static("ü".as_bytes())).is_ok());
    }

    #[test]
    fn shares_its_frame_until_detached() {
        let frame = Bytes::from(b"orders".to_vec());
        let name = Str::from_utf8(frame.slice(0..3)).unwrap();
        assert_eq!(name.as_bytes().as_ptr(), frame.as_ptr());
        assert_ne!(name.detached().as_bytes().as_ptr(), frame.as_ptr());
        assert_eq!(name.detached(), name);
    }
}
