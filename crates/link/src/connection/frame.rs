//! Cuts answers out of the stream. The length that stands before each is not trusted: memory grows with what
//! has arrived, now or before, not with what was claimed.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the length before a frame.
const LENGTH_BYTES: usize = 4;
/// The least an answer can be: its correlation id.
const FRAME_BYTES_MIN: usize = 4;
/// Room that a read has at least; small answers share one allocation of this size.
const READ_BYTES_MIN: usize = 64 * 1024;

/// What has been read and not yet handed on.
pub(super) struct FrameReader {
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// The longest frame that has come: so much may be expected of the next one.
    longest: usize,
}

impl FrameReader {
    pub(super) fn new(frame_bytes_max: usize) -> FrameReader {
        FrameReader { buffer: BytesMut::new(), frame_bytes_max, longest: 0 }
    }

    /// The next frame without its length; `None` when the peer has closed between two frames.
    pub(super) async fn next<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<Option<Bytes>> {
        loop {
            let (missing, is_trusted) = match self.length()? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => {
                    self.buffer.advance(LENGTH_BYTES);
                    self.longest = self.longest.max(length);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Some(length) => (LENGTH_BYTES + length - self.buffer.len(), length <= self.longest),
                None => (READ_BYTES_MIN, false),
            };
            let spare = self.buffer.capacity() - self.buffer.len();
            if spare == 0 || is_trusted && spare < missing {
                // Never more than as much again as the peer has really sent, in this frame or in one before.
                let trusted = self.buffer.len().max(self.longest);
                self.buffer.reserve(missing.min(trusted).max(READ_BYTES_MIN));
            }
            if from.read_buf(&mut self.buffer).await? == 0 {
                let broken =
                    io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed it within an answer");
                return if self.buffer.is_empty() { Ok(None) } else { Err(broken) };
            }
        }
    }

    fn length(&self) -> io::Result<Option<usize>> {
        let Some(&prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes(prefix);
        match usize::try_from(length) {
            Ok(length) if (FRAME_BYTES_MIN..=self.frame_bytes_max).contains(&length) => Ok(Some(length)),
            _ => {
                let reason = format!("an answer of {length} bytes was announced, the peer is not a broker");
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bodies: &[&[u8]]) -> Vec<u8> {
        bodies.iter().flat_map(|body| [&(body.len() as i32).to_be_bytes(), *body].concat()).collect()
    }

    #[tokio::test]
    async fn cuts_frames_however_they_arrive() {
        let large = vec![7; 300_000];
        let bytes = framed(&[b"abcd", &large, b"efghi"]);
        for piece in [1, 3, 64 * 1024, bytes.len()] {
            let mut stream = tokio_test_stream(&bytes, piece);
            let mut reader = FrameReader::new(1 << 20);
            assert_eq!(reader.next(&mut stream).await.unwrap().unwrap(), "abcd");
            assert_eq!(reader.next(&mut stream).await.unwrap().unwrap(), large);
            assert_eq!(reader.next(&mut stream).await.unwrap().unwrap(), "efghi");
            assert!(reader.next(&mut stream).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn a_hostile_length_is_refused_before_memory_is_taken() {
        for length in [-1, 0, 3, i32::MIN, i32::MAX, (1 << 20) + 1] {
            let bytes = [&length.to_be_bytes()[..], b"abcd"].concat();
            let error = FrameReader::new(1 << 20).next(&mut &bytes[..]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{length}");
        }
    }

    #[tokio::test]
    async fn a_claimed_length_alone_takes_little_memory() {
        let bytes = [&(1i32 << 29).to_be_bytes()[..], &[0; 1000]].concat();
        let mut reader = FrameReader::new(1 << 30);
        let error = reader.next(&mut &bytes[..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(reader.buffer.capacity() <= 2 * READ_BYTES_MIN);
    }

    #[tokio::test]
    async fn a_long_frame_makes_room_for_the_next_at_once() {
        let large = vec![7; 3 << 20];
        let (first, second) = (framed(&[&large]), framed(&[&large]));
        let mut reader = FrameReader::new(1 << 30);
        reader.next(&mut &first[..]).await.unwrap().unwrap();
        // Only the beginning has come.
        reader.next(&mut &second[..100_000]).await.unwrap_err();
        assert!(reader.buffer.capacity() >= large.len(), "{}", reader.buffer.capacity());
        assert!(reader.buffer.capacity() <= 2 * large.len());
    }

    /// Gives `bytes` in pieces of `piece` bytes.
    fn tokio_test_stream(bytes: &[u8], piece: usize) -> impl AsyncRead + Unpin {
        struct Pieces(BytesMut, usize);
        impl AsyncRead for Pieces {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                into: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                let n = self.1.min(self.0.len()).min(into.remaining());
                into.put_slice(&self.0.split_to(n));
                std::task::Poll::Ready(Ok(()))
            }
        }
        Pieces(BytesMut::from(bytes), piece)
    }
}
