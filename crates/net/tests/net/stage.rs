//! A service whose answers the test decides, on real sockets, through every kind of stream.
//!
//! A frame is a word: `echo…` is answered with itself, `later:<name>` when the test opens its gate,
//! `slow:<ms>` and `hang` keep `serve` busy; the other words are in [`Script::answer`].

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_net::{
    CloseReason, Frame, Listener, NetMetrics, NetSettings, Part, Peer, Permit, Plain, Response, Responses,
    SecurityProtocol, Server, Service, Stream, Transport,
};
use ottla_tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

#[derive(Default)]
pub struct Script {
    /// How many frames each call of `serve` was offered.
    pub offered: Mutex<Vec<usize>>,
    /// The frames that were served, in order.
    pub served: Mutex<Vec<Bytes>>,
    pub sessions: AtomicUsize,
    /// Those who opened the sessions.
    pub peers: Mutex<Vec<Peer>>,
    /// Sessions that were closed after all that was pending of them was gone.
    pub closed: AtomicUsize,
    /// `serve` calls and answers that are pending now.
    pub pending: Arc<AtomicUsize>,
    pub file: Mutex<Option<(Arc<File>, usize)>>,
    gates: Mutex<BTreeMap<String, Arc<Notify>>>,
    kept: Mutex<Vec<(Bytes, Permit)>>,
}

/// Something of the service that is pending: counted for its session, and for all.
struct Pending([Arc<AtomicUsize>; 2]);

impl Pending {
    fn new(session: &Arc<AtomicUsize>, all: &Arc<AtomicUsize>) -> Pending {
        let counts = [session.clone(), all.clone()];
        for count in &counts {
            count.fetch_add(1, SeqCst);
        }
        Pending(counts)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, SeqCst);
        }
    }
}

impl Script {
    fn gate(&self, name: &str) -> Arc<Notify> {
        self.gates.lock().unwrap().entry(name.to_owned()).or_default().clone()
    }

    /// Lets the answer to `later:<name>` go.
    pub fn open_gate(&self, name: &str) {
        self.gate(name).notify_one();
    }

    /// Drops the frames that were kept.
    pub fn drop_kept(&self) {
        self.kept.lock().unwrap().clear();
    }

    /// Drops the frames that were kept and are shorter than `len`.
    pub fn drop_kept_below(&self, len: usize) {
        self.kept.lock().unwrap().retain(|(bytes, _)| bytes.len() >= len);
    }

    pub fn served(&self) -> Vec<Bytes> {
        self.served.lock().unwrap().clone()
    }

    fn answer(&self, frame: Frame) -> Result<Vec<Response>, CloseReason> {
        let (bytes, permit) = frame.into_parts();
        let word = String::from_utf8_lossy(&bytes).into_owned();
        let (kind, argument) = word.split_once(':').unwrap_or((&word, ""));
        let number = || argument.parse::<usize>().unwrap();
        Ok(match kind {
            "none" => vec![],
            "keep" => {
                self.kept.lock().unwrap().push((bytes.clone(), permit));
                vec![bytes.into()]
            }
            "many" => vec![Response::new(vec![b'm'; number()].into())],
            "framed" => {
                vec![Response::framed(framed(b"echo").repeat(number()).into(), number() as u32)]
            }
            "mute" => {
                vec![Response { mute: Duration::from_millis(number() as u64), ..Response::new(bytes) }]
            }
            "close" => vec![Response { close: true, ..Response::new(bytes) }],
            "error" => return Err(CloseReason::refused("the frame says so")),
            "panic" => panic!("the frame says so"),
            "file" => {
                let (file, len) = self.file.lock().unwrap().clone().unwrap();
                let at = number();
                vec![Response {
                    parts: vec![
                        Part::Bytes("head".into()),
                        Part::File { file: file.clone(), position: at as u64, len: len - at },
                        Part::Bytes("middle".into()),
                        Part::File { file, position: 0, len: len.min(10) },
                    ],
                    ..Response::default()
                }]
            }
            _ => vec![bytes.into()],
        })
    }
}

impl Service for Script {
    type Session = Arc<AtomicUsize>;

    fn open(&self, peer: &Peer) -> Arc<AtomicUsize> {
        self.peers.lock().unwrap().push(peer.clone());
        self.sessions.fetch_add(1, SeqCst);
        Arc::default()
    }

    async fn serve(
        &self,
        session: &mut Arc<AtomicUsize>,
        frames: &mut VecDeque<Frame>,
    ) -> Result<Responses, CloseReason> {
        let _pending = Pending::new(session, &self.pending);
        self.offered.lock().unwrap().push(frames.len());
        if is_alone(&frames[0]) {
            let frame = frames.pop_front().unwrap();
            self.served.lock().unwrap().push(frame.bytes.clone());
            if let Some(millis) = frame.bytes.strip_prefix(b"slow:") {
                let millis = std::str::from_utf8(millis).unwrap().parse().unwrap();
                sleep(Duration::from_millis(millis)).await;
                return Ok(Responses::Ready(vec![frame.bytes.into()]));
            }
            if frame.bytes == "hang" {
                std::future::pending::<()>().await;
            }
            let gate = self.gate(std::str::from_utf8(&frame.bytes[6..]).unwrap());
            let pending = Pending::new(session, &self.pending);
            return Ok(Responses::Later(Box::pin(async move {
                let _pending = pending;
                gate.notified().await;
                Ok(vec![frame.bytes.into()])
            })));
        }
        let mut responses = Vec::new();
        while frames.front().is_some_and(|frame| !frame.bytes.starts_with(b"later:") && frame.bytes != "hang")
        {
            let frame = frames.pop_front().unwrap();
            self.served.lock().unwrap().push(frame.bytes.clone());
            responses.extend(self.answer(frame)?);
        }
        Ok(Responses::Ready(responses))
    }

    fn closed(&self, session: Arc<AtomicUsize>) {
        if session.load(SeqCst) == 0 {
            self.closed.fetch_add(1, SeqCst);
        }
    }
}

/// Whether a frame is served by a call of its own.
fn is_alone(frame: &Frame) -> bool {
    [&b"later:"[..], b"slow:", b"hang"].iter().any(|word| frame.bytes.starts_with(word))
}

/// A kind of stream, and how a client comes by one.
pub trait Wire: Transport + Default {
    const PROTOCOL: SecurityProtocol;
    /// Whether the kernel may send files through it.
    const SENDS_FILES: bool;

    /// The client's end. Does not wait for the server.
    fn dial(socket: TcpStream) -> impl Future<Output = Self::Stream>;
}

impl Wire for Plain {
    const PROTOCOL: SecurityProtocol = SecurityProtocol::Plaintext;
    const SENDS_FILES: bool = true;

    async fn dial(socket: TcpStream) -> TcpStream {
        socket
    }
}

/// Makes tests of functions that are generic over the stream: one for each kind.
#[macro_export]
macro_rules! on_every_stream {
    ($($name:ident),+ $(,)?) => {
        mod plain {
            $(#[tokio::test] async fn $name() { super::$name::<ottla_net::Plain>().await })+
        }
        mod veiled {
            $(#[tokio::test] async fn $name() { super::$name::<$crate::veiled::Veil>().await })+
        }
    };
}

pub struct Stage<W> {
    pub script: Arc<Script>,
    pub server: Server,
    pub addr: SocketAddr,
    pub metrics: Arc<NetMetrics>,
    wire: PhantomData<W>,
}

/// A server with one listener.
pub fn stage<W: Wire>(settings: NetSettings) -> Stage<W> {
    let script = Arc::new(Script::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind("test", W::PROTOCOL, any, 128).unwrap();
    let addr = listener.addr();
    let mut server = Server::new(settings, Tasks::default());
    server.serve(script.clone(), listener, Arc::new(W::default()));
    Stage { script, addr, metrics: server.metrics(), server, wire: PhantomData }
}

impl<W: Wire> Stage<W> {
    pub async fn connect(&self) -> Client<W::Stream> {
        let socket = TcpStream::connect(self.addr).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Client { stream: W::dial(socket).await }
    }

    pub fn closed(&self, kind: &str) -> u64 {
        self.metrics.closed().find(|(name, _)| *name == kind).unwrap().1
    }
}

pub struct Client<S> {
    pub stream: S,
}

impl<S: Stream> Client<S> {
    /// Sends frames with one write.
    pub async fn send(&mut self, frames: &[&str]) {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| framed(frame.as_bytes())).collect();
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub async fn receive_bytes(&mut self) -> Vec<u8> {
        let receive = async {
            let len = self.stream.read_i32().await.unwrap();
            let mut body = vec![0; len as usize];
            self.stream.read_exact(&mut body).await.unwrap();
            body
        };
        timeout(SOON, receive).await.expect("a response")
    }

    pub async fn receive(&mut self) -> String {
        String::from_utf8(self.receive_bytes().await).unwrap()
    }

    pub async fn expect(&mut self, responses: &[&str]) {
        for response in responses {
            assert_eq!(self.receive().await, *response);
        }
    }

    /// Nothing comes for a while.
    pub async fn expect_silence(&mut self) {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(50), self.stream.read(&mut byte)).await;
        assert!(read.is_err(), "expected silence, got {read:?} {byte:?}");
    }

    /// The server has closed its side, and nothing came before.
    pub async fn expect_end(&mut self) {
        self.expect_end_within(0).await;
    }

    /// The server has closed its side after `most` bytes at most.
    pub async fn expect_end_within(&mut self, most: usize) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = timeout(SOON, self.stream.read_to_end(&mut rest)).await.expect("the connection ends");
        assert!(rest.len() <= most, "expected the end, got {} bytes", rest.len());
    }
}

/// Longer than anything that is expected takes, however busy the machine is.
pub const SOON: Duration = Duration::from_secs(60);

pub fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes(), body].concat()
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("never so: {what}"));
}
