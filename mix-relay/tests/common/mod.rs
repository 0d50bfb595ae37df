//! Relays on threads of their own, endpoints beside them, and taps between.

#![allow(clippy::unwrap_used, dead_code)]

pub mod covered;

use mixnn_mix_relay::{Budget, Relay, RelayCore};
use mixnn_protocol::admission::{Issuer, TokenRequest};
use mixnn_protocol::lane::{LaneKeys, LanePlan};
use mixnn_protocol::letter::{Letter, route};
use mixnn_protocol::{
    AdmissionKey, Cover, Epoch, LaneRole, NodeId, RelayRef, Suite, SystemRng, Token,
};
use mixnn_transport::{Authority, Counters, Endpoint, EndpointConfig, Events, Limits};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

pub fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| Issuer::generate().unwrap())
}

pub fn admission_key() -> AdmissionKey {
    AdmissionKey::from_der(&issuer().public_der().unwrap()).unwrap()
}

pub fn token(relay: NodeId) -> Token {
    let key = admission_key();
    let request = TokenRequest::new(&key, relay, &mut SystemRng).unwrap();
    let answer = issuer().sign(request.blinded()).unwrap();
    request.finish(&key, &answer).unwrap()
}

pub type Addresses = HashMap<NodeId, String>;

/// A relay on a thread; ends with the test's process.
pub struct RunningRelay {
    pub reference: RelayRef,
    pub url: String,
    pub counters: Arc<Counters>,
    directory: tokio::sync::mpsc::UnboundedSender<Addresses>,
}

impl RunningRelay {
    pub fn start(limits: Limits) -> Self {
        Self::start_with(limits, 64 << 20)
    }

    /// With so many bytes for lanes.
    pub fn start_with(limits: Limits, memory: usize) -> Self {
        let listener = listener();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let id = NodeId::random(&mut SystemRng);
        let mut core = RelayCore::new(Suite::X25519, Budget::new(memory));
        core.admit(id, admission_key());
        let reference = RelayRef { id, key: core.public_key().clone() };
        let counters = Arc::new(Counters::default());
        let (directory, mut directories) = tokio::sync::mpsc::unbounded_channel::<Addresses>();
        let counted = counters.clone();
        let named = std::thread::Builder::new().name("relay".into());
        let body = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let relay = Relay::new(core, limits.clone(), counted);
                let serving = relay.clone().serve(listener, limits);
                let following = async {
                    while let Some(nodes) = directories.recv().await {
                        let parse =
                            |(id, url): (_, String)| (id, Authority::from_url(&url).unwrap());
                        relay.set_directory(nodes.into_iter().map(parse).collect());
                    }
                };
                tokio::join!(serving, following);
            });
        };
        named.spawn(body).unwrap();
        Self { reference, url, counters, directory }
    }

    pub fn set_directory(&self, nodes: &Addresses) {
        self.directory.send(nodes.clone()).unwrap();
    }
}

pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// An end of lanes.
pub struct Node {
    pub id: NodeId,
    pub url: String,
    pub endpoint: Endpoint,
    pub events: Events,
}

impl Node {
    pub fn start() -> Self {
        let listener = listener();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = EndpointConfig { listener, metrics: None, limits: Limits::default() };
        let (endpoint, events) = Endpoint::start(config).unwrap();
        Self { id: NodeId::random(&mut SystemRng), url, endpoint, events }
    }
}

/// Draws a lane over these relays, and sends each its letter over `letter_way`.
pub fn draw(
    from: &Node,
    to: NodeId,
    relays: &[&RunningRelay],
    letter_way: &[&RunningRelay],
    quota: u32,
) -> LaneKeys {
    draw_covered(from, to, relays, letter_way, quota, None)
}

/// The same under cover.
pub fn draw_covered(
    from: &Node,
    to: NodeId,
    relays: &[&RunningRelay],
    letter_way: &[&RunningRelay],
    quota: u32,
    cover: Option<Cover>,
) -> LaneKeys {
    let path: Vec<RelayRef> = relays.iter().map(|r| r.reference.clone()).collect();
    let way: Vec<RelayRef> = letter_way.iter().map(|r| r.reference.clone()).collect();
    let plan = LanePlan {
        role: LaneRole::Forward,
        receiver: to,
        path: &path,
        epoch: Epoch(1),
        quota,
        idle_seconds: 600,
        cover,
    };
    let mut admit = |id| Some(token(id));
    let mut keys = plan.draw(&mut SystemRng, &mut admit).unwrap();
    for (relay, letter) in std::mem::take(&mut keys.hops) {
        let first = way.first().map_or(relay.id, |r| r.id);
        let letter: Box<Letter> =
            route(letter, relay.id, &way, &mut SystemRng, &mut admit).unwrap();
        from.endpoint.letter(first, letter);
    }
    keys
}

pub fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What one connection carried.
type Connection = Arc<Mutex<Vec<u8>>>;

/// Sees every byte that goes to one node.
pub struct Tap {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Connection>>>,
}

impl Tap {
    pub fn before(url: &str) -> Self {
        let target = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Connection>>> = Arc::default();
        let all = seen.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&target).unwrap();
                let connection = Arc::new(Mutex::new(Vec::new()));
                all.lock().unwrap().push(connection.clone());
                let (back_from, back_to) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || copy(client, server, Some(&connection)));
                std::thread::spawn(move || copy(back_from, back_to, None));
            }
        });
        Self { url: own, seen }
    }

    /// The requests of every connection so far: path and body.
    pub fn requests(&self) -> Vec<(String, Vec<u8>)> {
        let connections = self.seen.lock().unwrap();
        let said = connections.iter().map(|c| c.lock().unwrap());
        said.filter(|bytes| !bytes.is_empty()).map(|bytes| parse(&bytes)).collect()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, seen: Option<&Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        // Before it is passed on: whoever has got it finds it here.
        if let Some(seen) = seen {
            seen.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// One request, by a parser of its own: head, then chunks or a length.
fn parse(bytes: &[u8]) -> (String, Vec<u8>) {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let mut rest = &bytes[end + 4..];
    if head.contains("content-length") {
        return (path, rest.to_vec());
    }
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let chunk = rest[line + 2..].get(..size).expect("a whole chunk");
        body.extend_from_slice(chunk);
        rest = &rest[line + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    (path, body)
}
