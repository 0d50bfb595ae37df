//! A real S3 server (moto's), and a proxy before it that misbehaves as it is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Fetching the server takes a while the first time.
const START: Duration = Duration::from_secs(300);

/// The server.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3-server.sh");
        let child = Command::new(script)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, port };
        let begun = Instant::now();
        while request(port, "GET", "/", b"").is_none() {
            assert!(begun.elapsed() < START, "no S3 server after {START:?}");
            assert!(server.child.try_wait().unwrap().is_none(), "scripts/s3-server.sh has ended");
            thread::sleep(Duration::from_millis(200));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program must find in its environment.
pub fn settings(port: u16) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_ACCESS_KEY_ID", "k".into()),
        ("AWS_SECRET_ACCESS_KEY", "s".into()),
        ("AWS_REGION", "us-east-1".into()),
    ]
}

/// A plain request; gives the status line.
pub fn request(port: u16, method: &str, path: &str, body: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {signed}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).lines().next().map(str::to_owned)
}

pub fn put(port: u16, path: &str, body: &[u8]) {
    let status = request(port, "PUT", path, body).unwrap();
    assert!(status.contains("200"), "{path}: {status}");
}

/// What the proxy does to writes of objects whose path contains a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Every write is forbidden.
    Refuse,
    /// Every write takes so long.
    Slow(Duration),
    /// Every other write ends in the middle of its body.
    CutOff,
}

/// A proxy before the server.
pub struct Proxy {
    pub port: u16,
    mood: Arc<Mutex<Mood>>,
    /// Writes that were spoilt or held up.
    pub struck: Arc<AtomicU32>,
}

impl Proxy {
    /// Strikes writes to paths that contain `word`.
    pub fn start(server: u16, word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mood, struck) = (Arc::new(Mutex::new(Mood::Good)), Arc::new(AtomicU32::new(0)));
        let (shared, count) = (mood.clone(), struck.clone());
        thread::spawn(move || {
            let writes = Arc::new(AtomicU32::new(0));
            for client in listener.incoming().flatten() {
                let (mood, count) = (shared.clone(), count.clone());
                let writes = writes.clone();
                thread::spawn(move || serve(client, server, word, &mood, &count, &writes));
            }
        });
        Self { port, mood, struck }
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

/// One connection: request after request, each sent on over a connection of its own.
fn serve(
    mut client: TcpStream,
    server: u16,
    word: &str,
    mood: &Mutex<Mood>,
    struck: &AtomicU32,
    writes: &AtomicU32,
) -> Option<()> {
    loop {
        let (head, body) = read_request(&mut client)?;
        let is_write = head.starts_with("PUT ") && head.lines().next()?.contains(word);
        let mood = if is_write { *mood.lock().unwrap() } else { Mood::Good };
        let mut upstream = TcpStream::connect(("127.0.0.1", server)).ok()?;
        // The server must close after its answer: then its end is known.
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        match mood {
            Mood::Good => {}
            Mood::Refuse => {
                struck.fetch_add(1, Ordering::Relaxed);
                client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").ok()?;
                continue;
            }
            Mood::Slow(time) => {
                struck.fetch_add(1, Ordering::Relaxed);
                thread::sleep(time);
            }
            Mood::CutOff => {
                if writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                    struck.fetch_add(1, Ordering::Relaxed);
                    upstream.write_all(head.as_bytes()).ok()?;
                    upstream.write_all(&body[..body.len() / 2]).ok()?;
                    let _ = upstream.shutdown(Shutdown::Both);
                    let _ = client.shutdown(Shutdown::Both);
                    return None;
                }
            }
        }
        upstream.write_all(head.as_bytes()).ok()?;
        upstream.write_all(&body).ok()?;
        std::io::copy(&mut upstream, &mut client).ok()?;
        let _ = client.shutdown(Shutdown::Both);
        return None;
    }
}

/// The head of a request, and its body by Content-Length.
fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65536];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 4].to_vec()).ok()?;
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let total = end + 4 + length.unwrap_or(0_usize);
            while bytes.len() < total {
                let more = client.read(&mut piece).ok().filter(|n| *n > 0)?;
                bytes.extend_from_slice(&piece[..more]);
            }
            return Some((head, bytes[end + 4..total].to_vec()));
        }
        let more = client.read(&mut piece).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&piece[..more]);
    }
}
