//! What comes in from the layers, sorted; and what goes out to them.

use crate::DesignerError;
use crate::deal::Deal;
use crate::fault::{Fault, Interrupt};
use crate::gathering::Gathering;
use crate::known::{Known, Readiness};
use crate::logs::Logs;
use crate::pool::Pool;
use crate::ring::{End, Lane, Ring};
use crate::timeline::Timeline;
use mixnn_events::Doing;
use mixnn_model::Layer;
use mixnn_nn::Tally;
use mixnn_protocol::control::{self, Command, Direction, FailureReason, Report};
use mixnn_protocol::{CellDrop, Kind, LaneRole, Message, MessageHeader, NodeId};
use mixnn_transport::{Endpoint, Event, Events, Passage};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How soon a change of the directory is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// A command that is not answered is sent again after so long, and then ever later.
const REPEAT: Duration = Duration::from_millis(250);
const LONGEST_REPEAT: Duration = Duration::from_secs(2);

/// The designer's ends of all lanes.
pub(crate) struct Mailbox<'a> {
    pub(crate) endpoint: Endpoint,
    events: Events,
    pub(crate) ring: Ring,
    pub(crate) deal: Deal,
    pub(crate) pool: Pool,
    layers: &'a [Layer],
    /// Over how many relays letters go.
    hops: usize,
    pub(crate) attempt: u32,
    /// The attempt whose probe came round to the designer last.
    echo: Option<u32>,
    /// Outputs of the last layer that have not been taken.
    pub(crate) outputs: VecDeque<Message>,
    /// Losses that the last layer computed: step, micro-batch, loss, what was right.
    pub(crate) losses: VecDeque<(u64, u32, f64, Tally)>,
    /// What is known of each layer.
    pub(crate) known: Vec<Known>,
    /// When relays last took no letter, or broke off.
    pub(crate) unreachable: HashMap<NodeId, Instant>,
    /// Sealed states that are being brought in.
    pub(crate) gathering: Option<Gathering>,
    /// Where the time of steps goes, if that is to be known.
    pub(crate) timeline: Option<Timeline>,
    /// What layers have written into their logs.
    pub(crate) logs: Logs,
}

impl<'a> Mailbox<'a> {
    pub(crate) fn new(
        endpoint: Endpoint,
        events: Events,
        pool: Pool,
        layers: &'a [Layer],
        deal: Deal,
        hops: usize,
    ) -> Self {
        Self {
            endpoint,
            events,
            ring: Ring::new(layers.len()),
            deal,
            pool,
            layers,
            hops,
            attempt: 0,
            echo: None,
            outputs: VecDeque::new(),
            losses: VecDeque::new(),
            known: vec![Known::default(); layers.len()],
            unreachable: HashMap::new(),
            gathering: None,
            timeline: None,
            logs: Logs::new(layers.len()),
        }
    }

    /// From now on notes where the time of steps goes.
    pub(crate) fn keep_times(&mut self) {
        self.endpoint.set_timed(true);
        self.timeline = Some(Timeline::new(self.layers.len()));
    }

    /// When a computation begins, if that is to be known.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.timeline.as_ref().map(|_| Instant::now())
    }

    /// A computation of this process has ended.
    pub(crate) fn computed(
        &mut self,
        doing: Doing,
        step: u64,
        micro_batch: u32,
        began: Option<Instant>,
    ) {
        if let (Some(timeline), Some(began)) = (&mut self.timeline, began) {
            timeline.computed(doing, step, micro_batch, began);
        }
    }

    /// Sends a tensor into the ring: inputs to the first layer, gradients and labels to the last.
    pub(crate) fn send(&self, kind: Kind, step: u64, micro_batch: u32, payload: Vec<u8>) {
        let lane = match kind {
            Kind::Gradient | Kind::Labels => self.last_lane(),
            _ => self.first_lane(),
        };
        self.endpoint.send(self.ring.name(lane), self.header(kind, step, micro_batch), payload);
    }

    pub(crate) fn first_lane(&self) -> u32 {
        self.ring.id(LaneRole::Forward, End::Designer, End::Layer(0))
    }

    fn last_lane(&self) -> u32 {
        self.ring.id(LaneRole::Backward, End::Designer, End::Layer(self.layers.len() - 1))
    }

    /// Sends a probe on each lane from the designer to a layer.
    fn probe(&self) {
        for lane in [self.first_lane(), self.last_lane()] {
            let name = self.ring.name(lane);
            self.endpoint.send(name, self.header(Kind::Probe, 0, 0), Vec::new());
        }
    }

    /// Tells every layer the same.
    pub(crate) fn command_all(&self, command: &Command, step: u64) -> Result<(), DesignerError> {
        (0..self.layers.len()).try_for_each(|i| self.command(i, command, step))
    }

    /// Tells one layer.
    pub(crate) fn command(
        &self,
        layer: usize,
        command: &Command,
        step: u64,
    ) -> Result<(), DesignerError> {
        let payload =
            control::to_bytes(command).map_err(|e| DesignerError::Stopped(e.to_string()))?;
        self.to_layer(layer, self.header(Kind::Command, step, 0), payload);
        Ok(())
    }

    /// Sends one layer a part of its state.
    pub(crate) fn send_part(&self, layer: usize, step: u64, part: u32, payload: Vec<u8>) {
        self.to_layer(layer, self.header(Kind::Weights, step, part), payload);
    }

    fn to_layer(&self, layer: usize, header: MessageHeader, payload: Vec<u8>) {
        let lane = self.ring.id(LaneRole::Command, End::Designer, End::Layer(layer));
        self.endpoint.send(self.ring.name(lane), header, payload);
    }

    const fn header(&self, kind: Kind, step: u64, micro_batch: u32) -> MessageHeader {
        let term = self.pool.head.term;
        MessageHeader { kind, term, attempt: self.attempt, step, micro_batch }
    }

    /// Begins another attempt: whatever is on its way is of no more use.
    pub(crate) fn next_attempt(&mut self) -> u32 {
        self.attempt += 1;
        self.outputs.clear();
        self.losses.clear();
        self.known.iter_mut().for_each(|known| known.norms = None);
        if let Some(timeline) = &mut self.timeline {
            timeline.forget();
        }
        self.attempt
    }

    /// Asks layers until each is as wanted: a command that is not answered is sent again, for its lane
    /// may not have been ready.
    pub(crate) fn ask(
        &mut self,
        command: &impl Fn(usize) -> Command,
        step: u64,
        within: Duration,
        is_done: &impl Fn(&Known) -> bool,
    ) -> Result<bool, Interrupt> {
        let start = Instant::now();
        let mut pause = REPEAT;
        loop {
            for i in (0..self.known.len()).filter(|&i| !is_done(&self.known[i])) {
                self.command(i, &command(i), step)?;
            }
            let done = |m: &mut Self| m.known.iter().all(is_done).then_some(());
            if self.wait(pause, done)?.is_some() {
                return Ok(true);
            }
            if start.elapsed() >= within {
                return Ok(false);
            }
            pause = (pause * 2).min(LONGEST_REPEAT);
        }
    }

    /// Halts all layers for the present attempt, and probes all lanes between them. Gives whether
    /// every layer answered and every probe came through.
    pub(crate) fn halt(&mut self, within: Duration) -> Result<bool, Interrupt> {
        let attempt = self.attempt;
        let is_done = move |known: &Known| {
            known.is_halted(attempt) && known.heard.iter().all(|h| *h == Some(attempt))
        };
        let start = Instant::now();
        let mut pause = REPEAT;
        loop {
            self.command_all(&Command::Halt, 0)?;
            self.probe();
            let done = |m: &mut Self| {
                (m.echo == Some(attempt) && m.known.iter().all(is_done)).then_some(())
            };
            if self.wait(pause, done)?.is_some() {
                return Ok(true);
            }
            if start.elapsed() >= within {
                return Ok(false);
            }
            pause = (pause * 2).min(LONGEST_REPEAT);
        }
    }

    /// After a halt that was not answered in time: the lanes that may be at fault, and the layers that
    /// did not answer.
    pub(crate) fn silent(&self) -> Fault {
        let attempt = self.attempt;
        let layers: Vec<usize> =
            (0..self.known.len()).filter(|&i| !self.known[i].is_halted(attempt)).collect();
        let answered = |end| match end {
            End::Designer => true,
            End::Layer(i) => !layers.contains(&i),
        };
        let arrived = |lane: &Lane| match (lane.role, lane.to) {
            (LaneRole::Forward, End::Designer) => self.echo == Some(attempt),
            (LaneRole::Forward, End::Layer(i)) => self.known[i].heard[0] == Some(attempt),
            (LaneRole::Backward, End::Layer(i)) => self.known[i].heard[1] == Some(attempt),
            // These are shown by answers alone.
            _ => false,
        };
        let is_suspect = |lane: &&Lane| {
            let set_apart = matches!(lane.role, LaneRole::Command | LaneRole::Report);
            let both = answered(lane.from) && answered(lane.to);
            if set_apart { !both } else { both && !arrived(lane) }
        };
        let lanes: Vec<&Lane> = self.ring.lanes.iter().filter(is_suspect).collect();
        let what: Vec<String> =
            layers
                .iter()
                .map(|&i| format!("layer \"{}\" does not answer", self.layers[i].spec.name))
                .chain(lanes.iter().filter(|l| answered(l.from) && answered(l.to)).map(|lane| {
                    format!("nothing comes through lane {}", lane.describe(self.layers))
                }))
                .collect();
        let ids = |lanes: Vec<&Lane>| {
            lanes.into_iter().map(|l| self.ring.id(l.role, l.from, l.to)).collect()
        };
        let both = |lane: &&Lane| answered(lane.from) && answered(lane.to);
        let proven = self.ring.lanes.iter().filter(|l| both(l) && !is_suspect(l)).collect();
        let what = what.join("; ");
        Fault::Silent { lanes: ids(lanes), proven: ids(proven), layers, what }
    }

    /// The names of layers that are not as wanted.
    pub(crate) fn names_of(&self, is_missing: impl Fn(&Known) -> bool) -> String {
        let missing = self.layers.iter().zip(&self.known).filter(|(_, known)| is_missing(known));
        let names: Vec<String> =
            missing.map(|(layer, _)| format!("\"{}\"", layer.spec.name)).collect();
        names.join(", ")
    }

    /// Takes what comes in until `ready` gives something, or nothing has come for `within`.
    pub(crate) fn wait<T>(
        &mut self,
        within: Duration,
        mut ready: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<Option<T>, Interrupt> {
        let mut last = Instant::now();
        loop {
            if let Some(found) = ready(self) {
                return Ok(Some(found));
            }
            let Some(left) = within.checked_sub(last.elapsed()) else { return Ok(None) };
            self.look_around()?;
            if let Some(event) = self.events.recv(left.min(LOOK))
                && self.event(event)?
            {
                last = Instant::now();
            }
        }
    }

    /// Takes in a newer directory; a node in use that is no longer there is a fault.
    pub(crate) fn look_around(&mut self) -> Result<(), Interrupt> {
        self.pool.lookout.check()?;
        if !self.pool.is_stale() {
            return Ok(());
        }
        self.refresh()?;
        let lost = self.lost();
        if lost.is_empty() { Ok(()) } else { Err(Fault::Lost(lost).into()) }
    }

    /// Takes in the newest directory.
    pub(crate) fn refresh(&mut self) -> Result<(), DesignerError> {
        if self.pool.refresh(&self.deal)? {
            self.endpoint.set_directory(self.pool.urls.clone());
        }
        Ok(())
    }

    /// Who of those in use is no longer there, in the owner's terms.
    fn lost(&self) -> String {
        let gone = |id| !self.pool.has(id);
        let mut lost: Vec<String> = self
            .deal
            .pods()
            .filter(|(_, pod)| gone(pod.id))
            .map(|(i, _)| format!("the pod of layer \"{}\"", self.layers[i].spec.name))
            .collect();
        let mut relays: Vec<_> = self.ring.relays().filter(|r| gone(*r)).collect();
        relays.sort_unstable();
        relays.dedup();
        if !relays.is_empty() {
            lost.push(format!("{} of the relays", relays.len()));
        }
        lost.join(", ")
    }

    /// Sorts an event; gives whether it is progress.
    fn event(&mut self, event: Event) -> Result<bool, Interrupt> {
        match event {
            Event::Message { lane, message, passage } => self.message(lane, message, passage),
            Event::Sent { lane, header, passage } => {
                self.passed(lane, header, Some(passage));
                Ok(false)
            }
            Event::LaneFault { lane, drop } => self.lane_fault(lane, drop),
            Event::Stopped(error) => Err(DesignerError::Stopped(error).into()),
            Event::LinkDown(node) => {
                tracing::warn!(%node, "a relay cannot be reached");
                self.unreachable.insert(node, Instant::now());
                Ok(false)
            }
            Event::UnknownNode(node) => {
                tracing::warn!(%node, "a relay is not in the directory");
                Ok(false)
            }
            // Nobody has reason to write to the designer.
            Event::Letter(_) => Ok(false),
        }
    }

    fn lane_fault(&self, name: u32, drop: CellDrop) -> Result<bool, Interrupt> {
        let Some(lane) = self.ring.named(name) else { return Ok(false) };
        let lane = lane.describe(self.layers);
        match drop {
            // The relay behind it takes no more: the halt that follows shows which lanes work.
            CellDrop::OverQuota | CellDrop::Exhausted => {
                Err(Fault::Stalled { seconds: 0, what: format!("lane {lane}: {drop}") }.into())
            }
            _ => Err(DesignerError::Lane { lane, problem: drop.to_string() }.into()),
        }
    }

    fn passed(&mut self, lane: u32, header: MessageHeader, passage: Option<Passage>) {
        if let (Some(passage), Some(timeline)) = (passage, &mut self.timeline)
            && let Some(lane) = self.ring.named(lane)
            && (header.term, header.attempt) == (self.pool.head.term, self.attempt)
        {
            timeline.passed(lane, header, passage);
        }
    }

    fn message(
        &mut self,
        lane: u32,
        message: Message,
        passage: Option<Passage>,
    ) -> Result<bool, Interrupt> {
        let header = message.header;
        self.passed(lane, header, passage);
        if header.term != self.pool.head.term {
            return Ok(false);
        }
        match self.ring.named(lane) {
            Some(Lane { role: LaneRole::Forward, .. }) if header.attempt == self.attempt => {
                if header.kind == Kind::Probe {
                    self.echo = Some(header.attempt);
                } else {
                    self.outputs.push_back(message);
                }
                Ok(true)
            }
            Some(Lane { role: LaneRole::Report, from: End::Layer(i), .. }) => {
                let layer = *i;
                if header.kind == Kind::Weights {
                    let part = |g: &mut Gathering| g.part(layer, header, message.payload);
                    return self.gathered(layer, header.step, part);
                }
                let report = control::parse::<Report>(&message.payload).map_err(|e| {
                    DesignerError::Lane {
                        lane: format!("Report from layer \"{}\"", self.layers[layer].spec.name),
                        problem: e.to_string(),
                    }
                })?;
                self.report(layer, header, report, passage)
            }
            _ => Ok(false),
        }
    }

    fn report(
        &mut self,
        layer: usize,
        header: MessageHeader,
        report: Report,
        passage: Option<Passage>,
    ) -> Result<bool, Interrupt> {
        let of_attempt = header.attempt == self.attempt;
        let known = &mut self.known[layer];
        match report {
            // It is said again and again until a command comes: if that were progress, a command that
            // got lost would not be sent again.
            Report::Hello => return Ok(!std::mem::replace(&mut known.hello, true)),
            // Not progress: a layer that only talks does not work.
            Report::Log(journal) => {
                self.logs.take(layer, journal, Instant::now());
                return Ok(false);
            }
            Report::Ready => known.readiness = Readiness::Ready,
            Report::Digest(digest) => known.digest = Some(digest),
            Report::Took(part) => known.took = known.took.max(part + 1),
            Report::Restored => known.restored = true,
            Report::Halted(kept) if of_attempt => known.halted = Some((header.attempt, kept)),
            Report::Heard(direction) if of_attempt => {
                let at = usize::from(direction == Direction::Backward);
                known.heard[at] = Some(header.attempt);
            }
            Report::Applied if of_attempt => known.applied = header.step,
            Report::Timed(times) if of_attempt => {
                known.applied = header.step;
                if let Some(timeline) = &mut self.timeline {
                    timeline.told(layer, header.step, &times, passage);
                }
            }
            Report::RolledBack if of_attempt => known.rolled_back = Some(header.attempt),
            Report::Norms(bits) if of_attempt => {
                let norms = bits.into_iter().map(f32::from_bits).collect();
                known.norms = Some((header.step, norms));
            }
            Report::Loss { loss, answers, correct, top5 } if of_attempt => {
                let tally = Tally { answers, correct, top5 };
                self.losses.push_back((header.step, header.micro_batch, loss, tally));
            }
            // What went wrong in an attempt that is over has been dealt with, or will happen again.
            Report::Failed(failure)
                if of_attempt || failure.reason == FailureReason::Assignment =>
            {
                let layer = self.layers[layer].spec.name.clone();
                if failure.reason == FailureReason::Lane {
                    let what = format!("layer \"{layer}\": {}", failure.message);
                    return Err(Fault::Stalled { seconds: 0, what }.into());
                }
                return Err(DesignerError::Layer { layer, failure }.into());
            }
            Report::Sealed(length) => {
                let sealed = |g: &mut Gathering| g.sealed(layer, header.step, length);
                return self.gathered(layer, header.step, sealed);
            }
            Report::Halted(_)
            | Report::Heard(_)
            | Report::Norms(_)
            | Report::Applied
            | Report::Timed(_)
            | Report::RolledBack
            | Report::Failed(_)
            | Report::Loss { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Lets covered lanes live on.
    pub(crate) fn tend_leases(&mut self) -> Result<(), DesignerError> {
        self.ring.leases.tend(&self.pool, self.hops, &self.endpoint)
    }

    /// Ends covered lanes.
    pub(crate) fn end_leases(&mut self) -> Result<(), DesignerError> {
        self.ring.leases.end(&self.pool, self.hops, &self.endpoint)
    }

    /// Asks every layer to seal its state after `step`, each to a key of its own.
    pub(crate) fn gather(&mut self, gathering: Gathering) -> Result<(), DesignerError> {
        for layer in 0..self.layers.len() {
            self.command(layer, &gathering.seal(layer), gathering.step())?;
        }
        self.gathering = Some(gathering);
        Ok(())
    }

    /// Takes in what a layer says of its sealed state, and asks for the parts that come next.
    fn gathered(
        &mut self,
        layer: usize,
        step: u64,
        take: impl FnOnce(&mut Gathering) -> Result<std::ops::Range<u32>, String>,
    ) -> Result<bool, Interrupt> {
        // Of a gathering that was given up.
        let Some(gathering) = self.gathering.as_mut().filter(|g| g.step() == step) else {
            return Ok(false);
        };
        let next = take(gathering).map_err(|problem| DesignerError::Lane {
            lane: format!("Report from layer \"{}\"", self.layers[layer].spec.name),
            problem,
        })?;
        next.map(Command::Part).try_for_each(|part| self.command(layer, &part, step))?;
        Ok(true)
    }

    /// Sends what is left and ends the endpoint.
    pub(crate) fn close(self, within: Duration) {
        self.endpoint.shutdown(within);
    }
}
