//! The data directory that Kafka 4.3.1 left.

use std::fs;
use std::io::Read;
use std::path::Path;

/// Unpacks the data directory that Kafka 4.3.1 left into `target`, which is then `target/data`.
pub fn unpack_kafka_dir(target: &Path) {
    let packed = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/data-dir.tar.zst")).unwrap();
    let mut tar = Vec::new();
    zstd::Decoder::new(&packed[..]).unwrap().read_to_end(&mut tar).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.split(|b| *b == 0).next().unwrap().to_vec()).unwrap();
    let mut at = 0;
    while at + 512 <= tar.len() && tar[at] != 0 {
        let header = &tar[at..at + 512];
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let path = target.join(text(&header[..100]));
        at += 512;
        match header[156] {
            b'5' => fs::create_dir_all(&path).unwrap(),
            b'0' => fs::write(&path, &tar[at..at + size]).unwrap(),
            other => panic!("unexpected type {other} of {}", path.display()),
        }
        at += size.next_multiple_of(512);
    }
}
