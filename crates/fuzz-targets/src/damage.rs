//! A little language in which bytes say what is to happen to a set of files.

use std::collections::BTreeMap;

/// Files by their path below a folder.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The most changes that one input makes.
const CHANGES_MAX: usize = 8;

/// The most bytes that a change adds.
const ADDED_MAX: usize = 4096;

/// Bytes of one change: which file, what, where (two), how much (one), with what.
pub const CHANGE_LEN: usize = 6;

/// Changes `files` as `script` says. Any script means something.
pub fn damage(files: &mut Files, script: &[u8]) {
    let mut script = script;
    for _ in 0..CHANGES_MAX {
        let Some((&[file, what, hi, lo, len, with], rest)) = script.split_first_chunk::<CHANGE_LEN>() else {
            return;
        };
        script = rest;
        let place = usize::from(u16::from_be_bytes([hi, lo]));
        let Some(name) = files.keys().nth(usize::from(file) % files.len().max(1)).cloned() else { return };
        let mut bytes = files.remove(&name).unwrap_or_default();
        let len = usize::from(len);
        match what % 12 {
            0 => change(&mut bytes, place, len.min(8), |byte| *byte = with),
            1 => change(&mut bytes, place, 1, |byte| *byte ^= 1 << (with % 8)),
            2 => bytes.truncate(at(&bytes, place)),
            3 => bytes.truncate(bytes.len().saturating_sub(len)),
            4 => drop(bytes.drain(span(&bytes, place, len))),
            5 => change(&mut bytes, place, len * 16, |byte| *byte = with),
            6 => bytes.extend(std::iter::repeat_n(with, len * 8)),
            7 => splice(&mut bytes, place, len, usize::from(with) * 16),
            8 => set_number(&mut bytes, place, with),
            9 => {
                // The file as the script has it: for formats that are text.
                let (text, rest) = script.split_at(len.min(script.len()));
                script = rest;
                bytes = text.to_vec();
            }
            10 => {
                // The same bytes under the name of another offset, too.
                let other = renamed(&name, u64::from(u16::from_be_bytes([hi, lo])));
                files.insert(other, bytes.clone());
            }
            _ => continue, // the file is gone
        }
        files.insert(name, bytes);
    }
}

fn at(bytes: &[u8], place: usize) -> usize {
    place % (bytes.len() + 1)
}

fn span(bytes: &[u8], place: usize, len: usize) -> std::ops::Range<usize> {
    let start = at(bytes, place);
    start..start.saturating_add(len).min(bytes.len())
}

fn change(bytes: &mut [u8], place: usize, len: usize, with: impl Fn(&mut u8)) {
    let span = span(bytes, place, len);
    bytes[span].iter_mut().for_each(with);
}

/// Puts a copy of one part in front of another.
fn splice(bytes: &mut Vec<u8>, place: usize, len: usize, from: usize) {
    let copied = bytes[span(bytes, from, (len * 8).min(ADDED_MAX))].to_vec();
    let place = at(bytes, place);
    bytes.splice(place..place, copied);
}

/// Puts one of the numbers in place that lengths and offsets should not be.
fn set_number(bytes: &mut [u8], place: usize, which: u8) {
    const NUMBERS: [i64; 8] = [-1, 0, 1, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN, 1 << 32];
    let number = NUMBERS[usize::from(which) % NUMBERS.len()].to_be_bytes();
    let number = if which & 0x80 == 0 { &number[4..] } else { &number[..] };
    let span = span(bytes, place, number.len());
    let len = span.len();
    bytes[span].copy_from_slice(&number[..len]);
}

/// `folder/00000000000000000042.log` with another number; any other name gets an ending.
fn renamed(path: &str, number: u64) -> String {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[start..].split_once('.') {
        Some((digits, ending)) if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{}{number:020}.{ending}", &path[..start])
        }
        _ => format!("{path}.{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files::from([
            ("a/00000000000000000000.log".to_owned(), (0..100).collect()),
            ("b".to_owned(), vec![7; 5]),
        ])
    }

    #[test]
    fn an_empty_script_changes_nothing() {
        let mut changed = files();
        damage(&mut changed, &[]);
        damage(&mut changed, &[1, 2, 3]);
        assert_eq!(changed, files());
    }

    #[test]
    fn changes_are_made_in_order() {
        let mut changed = files();
        damage(
            &mut changed,
            &[0, 2, 0, 10, 0, 0, 0, 10, 0, 42, 0, 0, 0, 11, 0, 0, 0, 0, 1, 9, 0, 0, 2, 0, b'h', b'i'],
        );
        let left = Files::from([
            ("a/00000000000000000042.log".to_owned(), (0..10).collect()),
            ("b".to_owned(), b"hi".to_vec()),
        ]);
        assert_eq!(changed, left);
    }
}
