//! The endpoint's thread.

use super::events::{Event, EventSink};
use super::passages::{Passage, Passages};
use super::{Command, EndpointConfig, LaneId};
use crate::server::Receiver;
use crate::{Authority, Counters, LaneSlot, LetterPost, Links, pace, serve_metrics, server};
use mixnn_protocol::cell::{LaneSender, SlotSender};
use mixnn_protocol::cover::{Pacer, WallClock};
use mixnn_protocol::letter::{Letter, ReceivingEnd, SendingEnd};
use mixnn_protocol::sizes::{CELL, cells_for};
use mixnn_protocol::{Cell, CellDrop, Inbox, MessageHeader, NodeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How often held cells are looked after; their patience is half a second.
const TICK: Duration = Duration::from_millis(50);
/// How many times its lanes' quotas the owner may leave untaken.
const UNTAKEN: usize = 4;
/// The least that it may leave untaken: some letters.
const UNTAKEN_LEAST: usize = 64 * CELL;
/// A covered lane ends at its stop if no cell has opened on any receiving lane for so long.
const SILENCE: Duration = Duration::from_secs(30);
/// Slots of covered lanes that are caught up with after this thread was kept from the CPU. Few: what
/// comes at once waits at the crossing relay, and all that follows behind it.
const CATCH_UP: u64 = 16;
/// Cells of a covered lane that may wait for the first relay's link. What is real waits before, where a
/// link that takes no more makes it late: a long queue of dummies would do the same, and cost memory.
const COVERED_LINK: u32 = 2 * CATCH_UP as u32;

pub(super) struct Shell {
    inbox: RefCell<Inbox<LaneId>>,
    sending: RefCell<HashMap<LaneId, Sending>>,
    directory: RefCell<HashMap<NodeId, Authority>>,
    receive_quotas: RefCell<HashMap<LaneId, usize>>,
    /// When a cell last opened, on any lane.
    heard: std::cell::Cell<Option<Instant>>,
    pacer: RefCell<Pacer<LaneId>>,
    wall: RefCell<WallClock>,
    /// Set where the owner asks for times.
    passages: RefCell<Option<Passages>>,
    links: Links,
    post: LetterPost,
    sink: EventSink,
    counters: Arc<Counters>,
}

struct Sending {
    sender: Sender,
    first: NodeId,
    /// Cells that may wait for the link.
    quota: u32,
    slot: Option<LaneSlot>,
    /// Messages that wait for the first relay's address, within the quota.
    waiting: Vec<(MessageHeader, Vec<u8>)>,
    waiting_cells: usize,
}

/// When a lane's cells leave.
enum Sender {
    /// At once.
    OnDemand(LaneSender),
    /// One a slot.
    Covered(Box<Covered>),
}

struct Covered {
    slots: SlotSender,
    stop: Instant,
    /// By so much the stop moves on.
    life: Duration,
}

impl Shell {
    pub(super) async fn run(
        config: EndpointConfig,
        mut commands: mpsc::UnboundedReceiver<Command>,
        sink: EventSink,
        counters: Arc<Counters>,
    ) -> std::io::Result<()> {
        let EndpointConfig { listener, metrics, limits } = config;
        let listener = TcpListener::from_std(listener)?;
        if let Some(metrics) = metrics {
            metrics.set_nonblocking(true)?;
            let metrics = TcpListener::from_std(metrics)?;
            tokio::task::spawn_local(serve_metrics(metrics, counters.clone()));
        }
        let shell = Rc::new_cyclic(|weak: &std::rc::Weak<Self>| {
            let weak = weak.clone();
            let down = move |peer: &Authority| {
                if let Some(shell) = weak.upgrade() {
                    shell.link_down(peer);
                }
            };
            Self {
                inbox: RefCell::default(),
                sending: RefCell::default(),
                directory: RefCell::default(),
                receive_quotas: RefCell::default(),
                heard: std::cell::Cell::default(),
                pacer: RefCell::new(Pacer::new(CATCH_UP)),
                wall: RefCell::new(WallClock::system()),
                passages: RefCell::default(),
                links: Links::new(limits.clone(), counters.clone(), down),
                post: LetterPost::new(limits.clone(), counters.clone()),
                sink,
                counters: counters.clone(),
            }
        });
        let serving = server::serve(listener, shell.clone(), limits, counters);
        let mut tick = tokio::time::interval(TICK);
        tokio::pin!(serving);
        loop {
            let slot = shell.pacer.borrow().deadline();
            tokio::select! {
                () = &mut serving => {}
                () = pace::until(slot) => shell.slots(Instant::now()),
                _ = tick.tick() => {
                    shell.release();
                    shell.go_on(Instant::now());
                }
                command = commands.recv() => match command {
                    Some(Command::Shutdown { within, done }) => {
                        shell.finish(within).await;
                        let _ = done.send(());
                        return Ok(());
                    }
                    Some(command) => shell.obey(command),
                    None => return Ok(()),
                },
            }
        }
    }

    fn obey(&self, command: Command) {
        match command {
            Command::Directory(nodes) => self.set_directory(nodes),
            Command::Clock(clock) => *self.wall.borrow_mut() = clock,
            Command::Send { lane, end, quota } => self.install_send(lane, &end, quota),
            Command::Receive { lane, end } => self.install_receive(lane, &end),
            Command::Remove(lane) => {
                self.sending.borrow_mut().remove(&lane);
                self.pacer.borrow_mut().remove(lane);
                self.inbox.borrow_mut().remove(lane);
                self.receive_quotas.borrow_mut().remove(&lane);
            }
            Command::Timed(timed) => *self.passages.borrow_mut() = timed.then(Passages::default),
            Command::Message { lane, header, payload } => self.send(lane, header, payload),
            Command::Letter { to, letter } => self.letter_to(to, letter),
            // Handled where the loop can end.
            Command::Shutdown { .. } => {}
        }
    }

    fn set_directory(&self, nodes: HashMap<NodeId, String>) {
        let known = nodes.into_iter().filter_map(|(id, url)| match Authority::from_url(&url) {
            Ok(authority) => Some((id, authority)),
            Err(error) => {
                tracing::warn!(%error, "the directory holds a bad URL");
                None
            }
        });
        *self.directory.borrow_mut() = known.collect();
        let mut sending = self.sending.borrow_mut();
        let waiting: Vec<LaneId> =
            sending.iter().filter(|(_, s)| !s.waiting.is_empty()).map(|(l, _)| *l).collect();
        for lane in waiting {
            let Some(s) = sending.get_mut(&lane) else { continue };
            let messages = std::mem::take(&mut s.waiting);
            s.waiting_cells = 0;
            messages.into_iter().for_each(|(header, payload)| self.push(lane, s, header, payload));
        }
    }

    fn install_send(&self, lane: LaneId, end: &SendingEnd, quota: u32) {
        let sender = match end.cover {
            None => Sender::OnDemand(LaneSender::new(end)),
            Some(cover) => {
                let wall = self.wall.borrow();
                let (start, stop) = (wall.edge(cover.start), wall.edge(cover.stop));
                self.pacer.borrow_mut().insert(lane, cover.sender_period(), start, stop);
                let life = Duration::from_secs((cover.stop - cover.start).into());
                Sender::Covered(Box::new(Covered {
                    slots: SlotSender::new(end, quota),
                    stop,
                    life,
                }))
            }
        };
        if end.cover.is_none() {
            self.pacer.borrow_mut().remove(lane);
        }
        // Connects now, if it can: the first cell is not to wait for it, nor, under cover, all others.
        let quota = if end.cover.is_some() { quota.min(COVERED_LINK) } else { quota };
        let peer = self.directory.borrow().get(&end.first).cloned();
        let slot = peer.map(|peer| self.links.lane(&peer, quota));
        let sending = Sending {
            sender,
            first: end.first,
            quota,
            slot,
            waiting: Vec::new(),
            waiting_cells: 0,
        };
        self.sending.borrow_mut().insert(lane, sending);
    }

    fn install_receive(&self, lane: LaneId, end: &ReceivingEnd) {
        self.inbox.borrow_mut().insert(lane, end);
        self.receive_quotas.borrow_mut().insert(lane, end.quota as usize * CELL);
    }

    fn send(&self, lane: LaneId, header: MessageHeader, payload: Vec<u8>) {
        match self.sending.borrow_mut().get_mut(&lane) {
            Some(sending) if self.passages.borrow().is_some() => {
                let began = Instant::now();
                self.push(lane, sending, header, payload);
                let ended = Instant::now();
                let passage = Passage { began, ended, sealing: ended - began };
                self.sink.put(Event::Sent { lane, header, passage });
            }
            Some(sending) => self.push(lane, sending, header, payload),
            // A lane that was removed while its owner was computing.
            None => self.counters.count("no_lane"),
        }
    }

    fn push(&self, lane: LaneId, s: &mut Sending, header: MessageHeader, payload: Vec<u8>) {
        let fault = |drop: CellDrop| {
            self.counters.count(drop.reason());
            self.sink.put(Event::LaneFault { lane, drop });
        };
        let sender = match &mut s.sender {
            Sender::OnDemand(sender) => sender,
            Sender::Covered(covered) => {
                // Nothing happens now that could be seen: a slot will take it.
                return covered.slots.push(header, payload).err().map_or((), fault);
            }
        };
        if s.slot.is_none() {
            let peer = self.directory.borrow().get(&s.first).cloned();
            s.slot = peer.map(|peer| self.links.lane(&peer, s.quota));
        }
        let Some(slot) = &s.slot else {
            s.waiting_cells += cells_for(payload.len());
            if s.waiting_cells > s.quota as usize {
                return fault(CellDrop::OverQuota);
            }
            s.waiting.push((header, payload));
            return self.sink.put(Event::UnknownNode(s.first));
        };
        let mut message = sender.message(header, &payload);
        while message.remaining() > 0 {
            if let Err(drop) = slot.push_with(|cell| message.next_cell(cell)) {
                return fault(drop);
            }
        }
    }

    /// Every covered lane emits its cell of the slot, whatever there is to say.
    fn slots(&self, now: Instant) {
        let sending = &mut *self.sending.borrow_mut();
        let paced = self.pacer.borrow_mut().due(now, |lane| {
            let Some(s) = sending.get_mut(&lane) else { return };
            let Sender::Covered(covered) = &mut s.sender else { return };
            if s.slot.is_none() {
                let peer = self.directory.borrow().get(&s.first).cloned();
                s.slot = peer.map(|peer| self.links.lane(&peer, s.quota));
            }
            let Some(slot) = &s.slot else { return self.counters.count("unknown_node") };
            match slot.push_with(|cell| covered.slots.slot(cell).map(|()| true)) {
                // The first relay takes no more: the real cells stay for later slots.
                Ok(_) => {}
                Err(CellDrop::OverQuota) => self.counters.count("slot_blocked"),
                Err(drop) => {
                    self.counters.count(drop.reason());
                    self.sink.put(Event::LaneFault { lane, drop });
                }
            }
        });
        self.counters.count_many("slot_missed", paced.missed);
        for lane in paced.stopped {
            sending.remove(&lane);
        }
    }

    /// Moves stops on that are near, as long as crossing relays still send: those of a session that is
    /// over fall silent.
    fn go_on(&self, now: Instant) {
        if self.heard.get().is_none_or(|heard| now.duration_since(heard) > SILENCE) {
            return;
        }
        for (lane, sending) in &mut *self.sending.borrow_mut() {
            if let Sender::Covered(covered) = &mut sending.sender
                && covered.stop < now + 20 * TICK
            {
                covered.stop += covered.life;
                self.pacer.borrow_mut().set_stop(*lane, covered.stop);
            }
        }
    }

    fn letter_to(&self, to: NodeId, letter: Box<Letter>) {
        let Some(peer) = self.directory.borrow().get(&to).cloned() else {
            return self.sink.put(Event::UnknownNode(to));
        };
        let sink = self.sink.clone();
        self.post.send(peer, letter, move || sink.put(Event::LinkDown(to)));
    }

    fn link_down(&self, peer: &Authority) {
        let node = self.directory.borrow().iter().find(|(_, a)| *a == peer).map(|(id, _)| *id);
        if let Some(node) = node {
            self.sink.put(Event::LinkDown(node));
        }
    }

    fn release(&self) {
        let released = self.inbox.borrow_mut().release(Instant::now());
        for (lane, result) in released {
            self.deliver(lane);
            if let Err(drop) = result {
                self.refused(Some(lane), drop);
            }
        }
    }

    fn deliver(&self, lane: LaneId) {
        loop {
            let Some(message) = self.inbox.borrow_mut().poll(lane) else { return };
            let passage = self.passages.borrow_mut().as_mut().map(|p| p.take(lane));
            if self.has_room() {
                self.sink.put(Event::Message { lane, message, passage });
            } else {
                self.counters.count("owner_slow");
            }
        }
    }

    /// A cell of a lane that came at `began`, if that is asked for, is open.
    fn passed(&self, lane: LaneId, began: Option<Instant>) {
        let (Some(began), Some(passages)) = (began, &mut *self.passages.borrow_mut()) else {
            return;
        };
        // Dummies belong to no message.
        if self.inbox.borrow().is_amid(lane) {
            passages.cell(lane, began);
        }
    }

    fn has_room(&self) -> bool {
        let quotas: usize = self.receive_quotas.borrow().values().sum();
        self.sink.waiting() <= (UNTAKEN * quotas).max(UNTAKEN_LEAST)
    }

    fn refused(&self, lane: Option<LaneId>, drop: CellDrop) {
        self.counters.count(drop.reason());
        // Anybody can send rubbish; only these say that a party of the lane misbehaves.
        if let (Some(lane), CellDrop::EndToEnd | CellDrop::BadFrame) = (lane, drop) {
            self.sink.put(Event::LaneFault { lane, drop });
        }
    }

    async fn finish(&self, within: Duration) {
        let idle = async {
            while !self.post.is_idle() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(within, idle).await;
        self.sending.borrow_mut().clear();
        self.links.finish(within).await;
    }
}

impl Receiver for Shell {
    fn cell(&self, now: Instant, cell: &Cell) {
        let lane = self.inbox.borrow().lane_of(cell);
        let began = self.passages.borrow().is_some().then(Instant::now);
        let taken = self.inbox.borrow_mut().cell(now, cell);
        match taken {
            Ok(lane) => {
                self.heard.set(Some(now));
                self.passed(lane, began);
                self.deliver(lane);
            }
            Err(drop) => self.refused(lane, drop),
        }
    }

    fn letter(&self, letter: Box<Letter>) {
        if self.has_room() {
            self.sink.put(Event::Letter(letter));
        } else {
            self.counters.count("owner_slow");
        }
    }
}
