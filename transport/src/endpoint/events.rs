//! What an endpoint tells its owner.

use super::{LaneId, Passage};
use mixnn_protocol::letter::Letter;
use mixnn_protocol::{CellDrop, Message, MessageHeader, NodeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// What an endpoint tells its owner.
#[derive(Debug)]
pub enum Event {
    /// A whole message came.
    Message {
        /// On which lane.
        lane: LaneId,
        /// What came.
        message: Message,
        /// When, if that is asked for.
        passage: Option<Passage>,
    },
    /// A message has been taken up, told where times are asked for.
    Sent {
        /// On which lane.
        lane: LaneId,
        /// Which one.
        header: MessageHeader,
        /// When. Under cover only when it began to wait for slots.
        passage: Passage,
    },
    /// A letter came.
    Letter(Box<Letter>),
    /// A lane does not work as it must: somebody on it misbehaves, or it is used up.
    LaneFault {
        /// Which lane.
        lane: LaneId,
        /// What happened.
        drop: CellDrop,
    },
    /// A node's address is not in the directory.
    UnknownNode(NodeId),
    /// A node cannot be reached, breaks off, or does not take a letter.
    LinkDown(NodeId),
    /// The endpoint ended by itself.
    Stopped(String),
}

impl Event {
    fn size(&self) -> usize {
        match self {
            Self::Message { message, .. } => message.payload.len(),
            Self::Letter(_) => mixnn_protocol::sizes::CELL,
            _ => 0,
        }
    }
}

/// The owner's half.
pub struct Events {
    receive: mpsc::Receiver<Event>,
    waiting: Arc<AtomicUsize>,
}

impl Events {
    /// Waits for the next event.
    pub fn recv(&self, within: Duration) -> Option<Event> {
        self.receive.recv_timeout(within).ok().inspect(|e| self.taken(e))
    }

    /// The next event, if there is one.
    pub fn try_recv(&self) -> Option<Event> {
        self.receive.try_recv().ok().inspect(|e| self.taken(e))
    }

    fn taken(&self, event: &Event) {
        self.waiting.fetch_sub(event.size(), Ordering::Relaxed);
    }
}

/// The endpoint's half: knows how many bytes wait.
#[derive(Clone)]
pub(super) struct EventSink {
    send: mpsc::Sender<Event>,
    waiting: Arc<AtomicUsize>,
}

impl EventSink {
    pub(super) fn new() -> (Self, Events) {
        let (send, receive) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Self { send, waiting: waiting.clone() }, Events { receive, waiting })
    }

    /// Bytes that the owner has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, event: Event) {
        self.waiting.fetch_add(event.size(), Ordering::Relaxed);
        // An owner that has gone away is about to end this thread too.
        let _ = self.send.send(event);
    }
}
