//! The LZ4 frame format.
//!
//! The frame is read here, block by block into the output, so that a few hostile bytes cannot make the reader
//! set up buffers of the largest block size. Written as Kafka's Java clients write it: independent blocks of
//! 64 KiB, no sizes and no checksums but that of the header. Read from any client: block and content
//! checksums, content size, linked blocks, all block sizes. Kafka's readers take one frame a batch, so bytes
//! after its end are refused.

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};

use super::codec::{Codec, CodecError};
use super::output::grow;
use super::xxh32::xxh32;

const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
/// Version 1, independent blocks.
const WRITTEN_FLAGS: u8 = 0b0110_0000;
/// Blocks of at most 64 KiB.
const WRITTEN_BLOCK_SIZE: u8 = 4 << 4;
const BLOCK_BYTES: usize = 64 * 1024;
/// Set in a block's length when the block is stored as it is.
const STORED: u32 = 1 << 31;
/// How far back a linked block may refer.
const WINDOW_BYTES: usize = 64 * 1024;
/// No LZ4 sequence makes more out of less: one more length byte gives at most 255 more bytes.
const MAX_EXPANSION: usize = 255;

pub fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let descriptor = [WRITTEN_FLAGS, WRITTEN_BLOCK_SIZE];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    let mut table = CompressTable::default();
    for block in input.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + get_maximum_output_size(block.len()), 0);
        let packed = compress_into_with_table(block, &mut out[start + 4..], &mut table)
            .map_err(|_| CodecError::Failed { codec: Codec::Lz4, what: "the compressor failed" })?;
        // Both lengths are at most 64 KiB.
        let (len, mark) = if packed < block.len() {
            (packed, packed as u32)
        } else {
            out[start + 4..start + 4 + block.len()].copy_from_slice(block);
            (block.len(), block.len() as u32 | STORED)
        };
        out[start..start + 4].copy_from_slice(&mark.to_le_bytes());
        out.truncate(start + 4 + len);
    }
    out.extend_from_slice(&[0; 4]);
    Ok(())
}

pub fn decompress(input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut input = Input(input);
    let frame = Frame::read(&mut input)?;
    loop {
        let mark = input.u32()?;
        if mark == 0 {
            break;
        }
        let len = (mark & !STORED) as usize;
        if len > frame.block_max {
            return Err(corrupt("a block is larger than the header says"));
        }
        let block = input.take(len)?;
        if frame.block_checksums && input.u32()? != xxh32(block) {
            return Err(corrupt("block checksum does not match"));
        }
        if mark & STORED != 0 {
            append_stored(block, max, out)?;
        } else {
            frame.append_packed(block, max, out)?;
        }
    }
    if frame.content_checksum && input.u32()? != xxh32(out) {
        return Err(corrupt("content checksum does not match"));
    }
    if frame.content_size.is_some_and(|size| size != out.len() as u64) {
        return Err(corrupt("content size does not match"));
    }
    if !input.0.is_empty() {
        return Err(corrupt("bytes after the end of the frame"));
    }
    Ok(())
}

/// What a frame's header says.
struct Frame {
    linked_blocks: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_max: usize,
}

impl Frame {
    fn read(input: &mut Input<'_>) -> Result<Frame, CodecError> {
        if input.take(4)? != MAGIC {
            return Err(corrupt("no frame magic"));
        }
        let header = input.0;
        let &[flags, block_size] = input.take(2)? else { unreachable!("take gives what was asked for") };
        if flags >> 6 != 1 {
            return Err(corrupt("unknown frame version"));
        }
        // Bit 1 is reserved; bit 0 asks for a dictionary, which nobody could have agreed on.
        if flags & 0b11 != 0 || block_size & 0x8f != 0 {
            return Err(corrupt("unknown frame flags"));
        }
        let block_max = match block_size >> 4 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return Err(corrupt("unknown block size")),
        };
        let content_size = match flags & 0b1000 {
            0 => None,
            _ => Some(u64::from(input.u32()?) | u64::from(input.u32()?) << 32),
        };
        let descriptor = &header[..header.len() - input.0.len()];
        if input.take(1)? != [header_checksum(descriptor)] {
            return Err(corrupt("header checksum does not match"));
        }
        Ok(Frame {
            linked_blocks: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_size,
            block_max,
        })
    }

    fn append_packed(&self, block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        let possible = self.block_max.min(block.len().saturating_mul(MAX_EXPANSION));
        let room = possible.min(max - start);
        grow(out, start + room, max);
        let (before, target) = out.split_at_mut(start);
        let result = if self.linked_blocks {
            decompress_into_with_dict(block, target, &before[start.saturating_sub(WINDOW_BYTES)..])
        } else {
            decompress_into(block, target)
        };
        match result {
            Ok(len) => {
                out.truncate(start + len);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < possible => {
                Err(CodecError::TooLarge { max })
            }
            Err(_) => Err(corrupt("not an LZ4 block")),
        }
    }
}

fn append_stored(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    if block.len() > max - start {
        return Err(CodecError::TooLarge { max });
    }
    grow(out, start + block.len(), max);
    out[start..].copy_from_slice(block);
    Ok(())
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8 // the second byte of the hash, as the format says
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(corrupt("frame is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, CodecError> {
        let (word, rest) = self.0.split_first_chunk::<4>().ok_or(corrupt("frame is cut off"))?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*word))
    }
}

fn corrupt(what: &'static str) -> CodecError {
    CodecError::Corrupt { codec: Codec::Lz4, what }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::*;

    fn unpack(packed: &[u8], max: usize) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        decompress(packed, max, &mut out).map(|()| out)
    }

    /// Text with repetitions near and far, and a stretch that does not pack.
    fn text() -> Vec<u8> {
        let mut noise = 1u32;
        (0..300_000u32)
            .map(|i| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i / 100_000 == 1 { (noise >> 24) as u8 } else { (i / 5) as u8 }
            })
            .collect()
    }

    #[test]
    fn every_kind_of_frame_of_other_writers_is_read() {
        let text = text();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
                for checks in [false, true] {
                    let info = FrameInfo::new()
                        .block_mode(mode)
                        .block_size(size)
                        .block_checksums(checks)
                        .content_checksum(checks)
                        .content_size(checks.then_some(text.len() as u64));
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&text).unwrap();
                    let packed = encoder.finish().unwrap();
                    assert!(unpack(&packed, text.len()).unwrap() == text, "{mode:?} {size:?} {checks}");
                    let max = text.len() - 1;
                    assert_eq!(unpack(&packed, max), Err(CodecError::TooLarge { max }), "{mode:?} {size:?}");
                }
            }
        }
    }

    #[test]
    fn other_readers_read_our_frames() {
        let text = text();
        let mut packed = Vec::new();
        compress(&text, &mut packed).unwrap();
        assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
        let mut out = Vec::new();
        FrameDecoder::new(&packed[..]).read_to_end(&mut out).unwrap();
        assert!(out == text);
    }

    #[test]
    fn a_tiny_frame_does_not_allocate_a_large_block() {
        let mut packed = Vec::new();
        compress(b"tiny", &mut packed).unwrap();
        packed[5] = 7 << 4; // blocks of up to 4 MiB
        packed[6] = header_checksum(&packed[4..6]);
        let mut out = Vec::new();
        decompress(&packed, 1 << 30, &mut out).unwrap();
        assert_eq!(out, b"tiny");
        assert!(out.capacity() < 4096, "{}", out.capacity());
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let info = FrameInfo::new().content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(b"checked").unwrap();
        let mut packed = encoder.finish().unwrap();
        let last = packed.len() - 1;
        packed[last] ^= 1;
        assert!(matches!(unpack(&packed, 100), Err(CodecError::Corrupt { .. })));
        packed[last] ^= 1;
        assert_eq!(unpack(&packed, 100).unwrap(), b"checked");
        packed.push(0);
        assert!(matches!(unpack(&packed, 100), Err(CodecError::Corrupt { .. })));
    }
}
