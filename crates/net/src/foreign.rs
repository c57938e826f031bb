//! Recognizes peers with another protocol by the bytes in the place of the length.

/// The first bytes of other protocols, unless they form a valid request length.
const BEGINNINGS: [(&[u8], &str); 11] = [
    (&[0x16, 3], "a TLS handshake"),
    (b"GET ", "an HTTP request"),
    (b"HEAD", "an HTTP request"),
    (b"POST", "an HTTP request"),
    (b"PUT ", "an HTTP request"),
    (b"DELE", "an HTTP request"),
    (b"OPTI", "an HTTP request"),
    (b"PATC", "an HTTP request"),
    (b"CONN", "an HTTP request"),
    (b"PRI ", "an HTTP/2 connection"),
    (b"SSH-", "an SSH connection"),
];

/// The protocol that begins with these bytes, if known.
pub(crate) fn name(prefix: [u8; 4]) -> Option<&'static str> {
    BEGINNINGS.iter().find(|(beginning, _)| prefix.starts_with(beginning)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_have_names() {
        assert_eq!(name([0x16, 3, 1, 2]), Some("a TLS handshake"));
        assert_eq!(name(*b"GET "), Some("an HTTP request"));
        assert_eq!(name([0, 0, 0, 20]), None);
        assert!(BEGINNINGS.iter().all(|(beginning, _)| beginning.len() <= 4));
    }

    /// With the largest request that is allowed by default, none of them is a length.
    #[test]
    fn beginnings_are_no_lengths() {
        for (beginning, name) in BEGINNINGS {
            let mut prefix = [0; 4];
            prefix[..beginning.len()].copy_from_slice(beginning);
            assert!(i32::from_be_bytes(prefix) > 104_857_600, "{name}");
        }
    }
}
