//! Frames: the checked pieces that a file consists of. Each is either whole or detectably damaged.
//!
//! ```text
//! u32 mark, u32 body length, u32 CRC32C of the two before, u32 CRC32C of the body, body
//! ```
//!
//! Both checksums start from the file's salt, a random number drawn when the file is created. So nobody can
//! put bytes into a record that look like a frame.

use bytes::Bytes;

/// "OtFr": where a frame begins.
const MARK: u32 = 0x4f74_4672;
const HEAD_LEN: usize = 16;
/// The most bytes a frame's body may claim.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// What lies at a position of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole frame; the next one begins at `next`.
    Frame { body: Bytes, next: usize },
    /// The end of the file.
    End,
    /// Bytes that are not a whole frame.
    Damage(&'static str),
}

/// Appends a frame. `write` appends its body.
pub(crate) fn put(out: &mut Vec<u8>, salt: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + HEAD_LEN, 0);
    write(out);
    let body_len = out.len() - start - HEAD_LEN;
    assert!(body_len <= BODY_BYTES_MAX, "a frame of {body_len} bytes could not be read again");
    let body_crc = crc32c::crc32c_append(salt, &out[start + HEAD_LEN..]);
    let head = &mut out[start..start + HEAD_LEN];
    head[0..4].copy_from_slice(&MARK.to_be_bytes());
    head[4..8].copy_from_slice(&(body_len as u32).to_be_bytes());
    let head_crc = crc32c::crc32c_append(salt, &head[0..8]);
    head[8..12].copy_from_slice(&head_crc.to_be_bytes());
    head[12..16].copy_from_slice(&body_crc.to_be_bytes());
}

/// Looks at position `at` of a file.
pub(crate) fn get(file: &Bytes, salt: u32, at: usize) -> Found {
    let rest = &file[at..];
    if rest.is_empty() {
        return Found::End;
    }
    if rest.len() < HEAD_LEN {
        return Found::Damage("the head of a frame is cut short");
    }
    let word = |i: usize| u32::from_be_bytes([rest[i], rest[i + 1], rest[i + 2], rest[i + 3]]);
    if word(0) != MARK || word(8) != crc32c::crc32c_append(salt, &rest[0..8]) {
        return Found::Damage("the head of a frame has a wrong checksum");
    }
    let len = word(4) as usize;
    if len > BODY_BYTES_MAX {
        return Found::Damage("a frame is too long");
    }
    if rest.len() - HEAD_LEN < len {
        return Found::Damage("the body of a frame is cut short");
    }
    if word(12) != crc32c::crc32c_append(salt, &rest[HEAD_LEN..HEAD_LEN + len]) {
        return Found::Damage("the body of a frame has a wrong checksum");
    }
    let start = at + HEAD_LEN;
    Found::Frame { body: file.slice(start..start + len), next: start + len }
}

/// Whether a whole frame begins anywhere after `at`. Each write is one frame, flushed before the next write
/// begins. So no whole frame follows the damage of a crash.
pub(crate) fn follows(file: &Bytes, salt: u32, at: usize) -> bool {
    let mark = MARK.to_be_bytes();
    (at + 1..file.len())
        .filter(|&i| file[i..].starts_with(&mark))
        .any(|i| matches!(get(file, salt, i), Found::Frame { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(salt: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, salt, |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn golden_bytes() {
        let head = [0x4f, 0x74, 0x46, 0x72, 0, 0, 0, 3, 0x0d, 0x90, 0x98, 0x0b, 0x42, 0xbb, 0x5b, 0xde];
        assert_eq!(frame(7, b"abc"), [&head[..], b"abc"].concat());
    }

    #[test]
    fn a_frame_reads_back_and_only_with_its_salt() {
        let file = Bytes::from(frame(7, b"abc"));
        assert_eq!(get(&file, 7, 0), Found::Frame { body: Bytes::from_static(b"abc"), next: file.len() });
        assert_eq!(get(&file, 7, file.len()), Found::End);
        assert!(matches!(get(&file, 8, 0), Found::Damage(_)));
    }

    #[test]
    fn any_changed_byte_is_damage() {
        let good = frame(7, b"abc");
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            assert!(matches!(get(&Bytes::from(bad), 7, 0), Found::Damage(_)), "byte {i}");
        }
    }

    #[test]
    fn a_frame_is_found_behind_damage_but_not_one_that_a_record_imitates() {
        let mut file = vec![0; 40];
        file.extend(frame(7, b"abc"));
        assert!(follows(&Bytes::from(file.clone()), 7, 0));
        assert!(!follows(&Bytes::from(file), 8, 0));
    }
}
