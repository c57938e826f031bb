//! One raw connection: frames as bytes, requests at a version of the test's choice.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::{RequestHeader, ResponseHeader};
use ottla_wire::primitives::{Message, Reader, Request, encode_frame};
use ottla_wire::protocol::{request_header_version, response_header_version};

/// How long an answer may take, and the end of a connection. Debug builds on busy machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What this side of a connection is named.
const CLIENT_ID: &str = "blackbox";

pub struct Wire {
    stream: TcpStream,
    correlation: i32,
}

/// The broker has closed the connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

impl Wire {
    pub fn to(addr: SocketAddr) -> Wire {
        Wire::try_to(addr).unwrap()
    }

    pub fn try_to(addr: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, correlation: 0 })
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let Ok(answer) = self.try_call(request, version) else {
            panic!("{} version {version}: the connection was closed", R::NAME);
        };
        answer
    }

    #[track_caller]
    pub fn try_call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Closed> {
        let correlation = self.send(request, version)?;
        self.answer::<R>(correlation, version)
    }

    /// Sends a request; gives its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<i32, Closed> {
        self.correlation += 1;
        self.send_raw(&frame(request, version, self.correlation))?;
        Ok(self.correlation)
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.stream.write_all(bytes).map_err(closed)
    }

    /// Reads the answer to the request with this correlation id, which MUST be the next to come.
    #[track_caller]
    pub fn answer<R: Request>(&mut self, correlation: i32, version: i16) -> Result<R::Response, Closed> {
        let mut reader = Reader::new(self.frame()?);
        let header = ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version)).unwrap();
        assert_eq!(header.correlation_id, correlation, "{}: answers are in order", R::NAME);
        let answer = R::Response::decode(&mut reader, version);
        let answer =
            answer.unwrap_or_else(|error| panic!("answer to {} version {version}: {error}", R::NAME));
        reader.finish(R::NAME).unwrap();
        Ok(answer)
    }

    /// The next frame, without its length.
    #[track_caller]
    pub fn frame(&mut self) -> Result<Bytes, Closed> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(closed)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut frame).map_err(closed)?;
        Ok(frame.into())
    }

    /// Nothing more will be sent.
    pub fn half_close(&self) {
        let _gone_already = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads what comes until the connection is closed; how many bytes that were. `None`: it stays open.
    pub fn drain(&mut self) -> Option<usize> {
        let mut buffer = [0; 65536];
        let mut total = 0;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(total),
                Ok(read) => total += read,
                Err(error) if is_timeout(&error) => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(total),
            }
        }
    }

    /// Asserts that the broker closes the connection without an answer.
    #[track_caller]
    pub fn expect_close(&mut self, what: &str) {
        assert_eq!(self.drain(), Some(0), "{what}: closed without an answer");
    }

    /// Whether a byte, or the end, comes soon: within `at_most`.
    pub fn stirs(&self, at_most: Duration) -> bool {
        self.stream.set_read_timeout(Some(at_most)).unwrap();
        // A process that was stopped meanwhile is interrupted when it goes on (signal(7)).
        let interrupted = |error: &io::Error| error.kind() == ErrorKind::Interrupted;
        let peeked = loop {
            let peeked = self.stream.peek(&mut [0]);
            if !peeked.as_ref().is_err_and(interrupted) {
                break peeked;
            }
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match peeked {
            Ok(_) => true,
            Err(error) => !is_timeout(&error),
        }
    }
}

/// A request with its header and length.
pub fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some(CLIENT_ID.into()),
    };
    let header_version = request_header_version(R::KEY, version);
    let frame = encode_frame((&header, header_version), (request, version));
    let frame = frame.and_then(|frame| frame.into_bytes());
    frame.unwrap_or_else(|error| panic!("{} version {version}: {error}", R::NAME))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[track_caller]
fn closed(error: io::Error) -> Closed {
    assert!(!is_timeout(&error), "the broker neither answers nor closes the connection");
    Closed
}
