//! The ends of lanes on a thread of their own: messages in, messages out.
//!
//! Layer pods and designers compute on their main thread for milliseconds at a time. Cells must not
//! wait for that, nor the computation for cells; so all I/O and all sealing happen here.

mod events;
mod passages;
mod shell;

pub use events::{Event, Events};
pub use passages::Passage;

use crate::{Counters, Limits};
use events::EventSink;
use mixnn_protocol::letter::{Letter, ReceivingEnd, SendingEnd};
use mixnn_protocol::{MessageHeader, NodeId, WallClock};
use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};

/// The owner's own name for a lane.
pub type LaneId = u32;

/// What an endpoint needs to start.
pub struct EndpointConfig {
    /// Where cells and letters come in.
    pub listener: TcpListener,
    /// Where counts are served, if anywhere.
    pub metrics: Option<TcpListener>,
    /// Bounds.
    pub limits: Limits,
}

/// Handle of a running endpoint.
#[derive(Clone)]
pub struct Endpoint {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Counters>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum Command {
    Directory(HashMap<NodeId, String>),
    Clock(WallClock),
    Send { lane: LaneId, end: Box<SendingEnd>, quota: u32 },
    Receive { lane: LaneId, end: Box<ReceivingEnd> },
    Remove(LaneId),
    Timed(bool),
    Message { lane: LaneId, header: MessageHeader, payload: Vec<u8> },
    Letter { to: NodeId, letter: Box<Letter> },
    Shutdown { within: Duration, done: oneshot::Sender<()> },
}

impl Endpoint {
    /// Starts the endpoint's thread.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made.
    pub fn start(config: EndpointConfig) -> std::io::Result<(Self, Events)> {
        let (commands, receive) = mpsc::unbounded_channel();
        let (sink, events) = EventSink::new();
        let counters = Arc::new(Counters::default());
        config.listener.set_nonblocking(true)?;
        let counted = counters.clone();
        let body = move || {
            let run = |sink| {
                // Its tasks stay on this thread. Unlike a `LocalSet` it polls them alone when they wake, not
                // all that the shell waits for.
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build_local(LocalOptions::default())?;
                runtime.block_on(shell::Shell::run(config, receive, sink, counted))
            };
            if let Err(error) = run(sink.clone()) {
                sink.put(Event::Stopped(error.to_string()));
            }
        };
        let thread = std::thread::Builder::new().name("endpoint".into()).spawn(body)?;
        Ok((Self { commands, counters, thread: Arc::new(Mutex::new(Some(thread))) }, events))
    }

    /// Replaces the addresses of nodes: id to `http://host:port`.
    pub fn set_directory(&self, nodes: HashMap<NodeId, String>) {
        self.tell(Command::Directory(nodes));
    }

    /// A reading of the platform's clock, by which the edges of covered lanes are told; this machine's until then.
    pub fn set_clock(&self, clock: WallClock) {
        self.tell(Command::Clock(clock));
    }

    /// Adds the sending end of a lane, or replaces the one of this name. At most `quota` cells wait.
    pub fn install_send(&self, lane: LaneId, end: SendingEnd, quota: u32) {
        self.tell(Command::Send { lane, end: Box::new(end), quota });
    }

    /// Adds the receiving end of a lane, or replaces the one of this name.
    pub fn install_receive(&self, lane: LaneId, end: ReceivingEnd) {
        self.tell(Command::Receive { lane, end: Box::new(end) });
    }

    /// Forgets a lane.
    pub fn remove(&self, lane: LaneId) {
        self.tell(Command::Remove(lane));
    }

    /// Whether events say from now on when messages passed. It costs two readings of a clock a cell.
    pub fn set_timed(&self, timed: bool) {
        self.tell(Command::Timed(timed));
    }

    /// Sends a message on a lane. Never blocks; what does not fit into the lane's quota becomes a
    /// [`Event::LaneFault`].
    pub fn send(&self, lane: LaneId, header: MessageHeader, payload: Vec<u8>) {
        self.tell(Command::Message { lane, header, payload });
    }

    /// Sends a letter to a node.
    pub fn letter(&self, to: NodeId, letter: Box<Letter>) {
        self.tell(Command::Letter { to, letter });
    }

    /// Sends what is queued, ends all links, and ends the thread, at most `within` each.
    pub fn shutdown(&self, within: Duration) {
        let (done, wait) = oneshot::channel();
        self.tell(Command::Shutdown { within, done });
        let _ = wait.blocking_recv();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// What this endpoint counts.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// An endpoint that has ended takes no more commands; its owner learned so by an event.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}
