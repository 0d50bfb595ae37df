//! A link to one process that can be slow, or carry nothing for a while.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(20);

/// What comes to `outside` goes on to `inside`, and back.
pub struct Link {
    pub outside: u16,
    pub inside: u16,
    condition: Arc<Condition>,
}

#[derive(Default)]
struct Condition {
    /// Nothing passes; connections stay as they are, as in a network that loses every packet.
    cut: std::sync::atomic::AtomicBool,
    /// Microseconds that everything read takes.
    delay: AtomicU64,
    passed: AtomicU64,
}

impl Link {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let outside = listener.local_addr().unwrap().port();
        // Free just now; a process is about to take it.
        let inside = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let condition = Arc::<Condition>::default();
        let shared = condition.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let condition = shared.clone();
                thread::spawn(move || carry(&client, inside, &condition));
            }
        });
        Self { outside, inside, condition }
    }

    /// The script of a program whose first process is behind this link.
    pub fn script(&self, folder: &std::path::Path) -> String {
        let first = folder.join("first").display().to_string();
        let Self { outside, inside, .. } = self;
        format!(
            "mkdir {first} 2>/dev/null || exec REAL \"$@\"\n\
             exec REAL \"$@\" --listen 127.0.0.1:{inside} --advertise http://127.0.0.1:{outside}"
        )
    }

    pub fn cut(&self, cut: bool) {
        self.condition.cut.store(cut, Ordering::Relaxed);
    }

    pub fn delay(&self, delay: Duration) {
        self.condition.delay.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Bytes that have passed.
    pub fn passed(&self) -> u64 {
        self.condition.passed.load(Ordering::Relaxed)
    }
}

fn carry(client: &TcpStream, inside: u16, condition: &Arc<Condition>) -> Option<()> {
    while condition.cut.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    let server = TcpStream::connect(("127.0.0.1", inside)).ok()?;
    let (back_from, back_to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let shared = condition.clone();
    thread::spawn(move || pass(back_from, back_to, &shared));
    pass(client.try_clone().ok()?, server, condition)
}

fn pass(mut from: TcpStream, mut to: TcpStream, condition: &Condition) -> Option<()> {
    from.set_nodelay(true).ok()?;
    to.set_nodelay(true).ok()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        thread::sleep(Duration::from_micros(condition.delay.load(Ordering::Relaxed)));
        while condition.cut.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            let _ = to.shutdown(std::net::Shutdown::Both);
            let _ = from.shutdown(std::net::Shutdown::Both);
            return None;
        }
        condition.passed.fetch_add(count as u64, Ordering::Relaxed);
    }
}
