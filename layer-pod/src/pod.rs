//! The pod around the machine: registration, letters, lanes.

use crate::{Done, Lane, Machine};
use anyhow::Context;
use mixnn_nn::LayerKey;
use mixnn_node::{DeadMan, NodeArgs, RegistryClient, Started, Verdict};
use mixnn_protocol::control::Profile;
use mixnn_protocol::journal::Level;
use mixnn_protocol::letter::{self, LaneEnd, Letter, Opened, PodSetup};
use mixnn_protocol::registration::NodeClass;
use mixnn_protocol::{CellDrop, Claim, KeyPair, NodeId, SystemRng};
use mixnn_transport::{Endpoint, EndpointConfig, Event, Events, Limits};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How often a pod that awaits its first command says so: lanes may not be ready at once.
const HELLO: Duration = Duration::from_millis(200);
/// How soon the directory is read again.
const REFRESH: Duration = Duration::from_millis(500);
/// For what is queued at the end.
const FINISH: Duration = Duration::from_secs(3);
/// Cells that may wait to leave on one lane. A pod sends only in answer to what came in, which its
/// owner bounds; this bounds a mistake.
const SEND_QUOTA: u32 = 1 << 16;

/// A registered pod.
pub struct Pod {
    runtime: Runtime,
    registry: RegistryClient,
    keys: KeyPair,
    id: NodeId,
    claim: Claim,
    profile: Profile,
    endpoint: Endpoint,
    events: Events,
    /// Whether the endpoint tells when messages pass.
    timed: bool,
    /// Term and sequence of the newest set-up.
    newest: Option<(u32, u32)>,
    machine: Option<Machine>,
    refreshed: Option<Instant>,
    dead_man: DeadMan,
}

impl Pod {
    /// Starts to listen, makes a key pair and registers it.
    ///
    /// # Errors
    /// Why that could not be done.
    pub fn register(
        args: &NodeArgs,
        started: Started,
        profile: Profile,
        dead_man: DeadMan,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let registry = RegistryClient::new(args)?.with_profile(profile.clone());
        let keys = KeyPair::generate(args.suite.into(), &mut SystemRng);
        let Started { listener, url, metrics } = started;
        let config = EndpointConfig { listener, metrics, limits: Limits::default() };
        let (endpoint, events) = Endpoint::start(config).context("starting the endpoint")?;
        let register = registry.register(NodeClass::Layer, &url, keys.public());
        let registered = runtime.block_on(register)?;
        let claim = registered.claim.context("the registration service gave this pod no claim")?;
        tracing::info!(url, "registered");
        let mut pod = Self {
            runtime,
            registry,
            keys,
            id: registered.id,
            claim,
            profile,
            endpoint,
            events,
            timed: false,
            newest: None,
            machine: None,
            refreshed: None,
            dead_man,
        };
        pod.refresh();
        Ok(pod)
    }

    /// Runs until the owner is done with the layer.
    ///
    /// # Errors
    /// The endpoint ended by itself, or nobody is left who wants this pod.
    pub fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.mind_dead_man()?;
            let event = self.events.recv(HELLO);
            let waits = self.machine.as_mut().filter(|m| !m.is_addressed());
            if event.is_none()
                && let Some(machine) = waits
            {
                machine.hello();
            }
            let done = match event {
                Some(event) => self.event(event)?,
                None => Done::Continue,
            };
            if let Some(machine) = &mut self.machine {
                machine.tell(Instant::now());
            }
            self.send();
            while self.machine.as_mut().is_some_and(Machine::go_on) {
                self.send();
            }
            if done == Done::Finish {
                tracing::info!("the owner is done with this layer");
                self.endpoint.shutdown(FINISH);
                return Ok(());
            }
        }
    }

    /// Ends a pod whose owner and platform have both fallen silent. The platform is asked only while no
    /// frame comes, so that nothing waits for its answer.
    fn mind_dead_man(&mut self) -> anyhow::Result<()> {
        match self.dead_man.verdict(Instant::now()) {
            Verdict::Wait(_) => {}
            Verdict::Ask if self.runtime.block_on(self.registry.knows_me()) => {
                self.dead_man.heard(Instant::now());
            }
            Verdict::Ask => self.dead_man.asked(Instant::now()),
            Verdict::Dead => {
                let seconds = self.dead_man.patience().as_secs();
                let owner = match self.newest {
                    None => "no owner has claimed this layer pod",
                    Some(_) => "this layer pod has had no valid frame",
                };
                anyhow::bail!("{owner}, and the platform is silent, for {seconds} s: it ends");
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> anyhow::Result<Done> {
        match event {
            Event::Message { lane, message, passage } => {
                self.dead_man.heard(Instant::now());
                let (Some(lane), Some(machine)) = (Lane::from_id(lane), &mut self.machine) else {
                    return Ok(Done::Continue);
                };
                if let Some(passage) = passage {
                    machine.passed(lane, message.header, passage);
                }
                return Ok(machine.message(lane, &message));
            }
            Event::Sent { lane, header, passage } => {
                if let (Some(lane), Some(machine)) = (Lane::from_id(lane), &mut self.machine) {
                    machine.passed(lane, header, passage);
                }
            }
            Event::Letter(letter) => self.letter(&letter),
            Event::LaneFault { lane, drop } => {
                if let (Some(lane), Some(machine)) = (Lane::from_id(lane), &mut self.machine) {
                    match drop {
                        CellDrop::OverQuota | CellDrop::Exhausted => {
                            machine.lane_full(lane, &drop.to_string());
                        }
                        _ => machine.lane_fault(lane, &drop.to_string()),
                    }
                }
            }
            Event::UnknownNode(_) => self.refresh(),
            Event::LinkDown(_) => {
                tracing::warn!("a relay cannot be reached");
                if let Some(machine) = &mut self.machine {
                    machine.note(Level::Warn, "a relay of a lane that goes out cannot be reached");
                }
            }
            Event::Stopped(error) => anyhow::bail!("the endpoint ended: {error}"),
        }
        Ok(Done::Continue)
    }

    /// Obeys a set-up that is signed under this pod's claim; counts everything else.
    fn letter(&mut self, letter: &Letter) {
        let counters = self.endpoint.counters();
        let Ok(Opened::Deliver { content, .. }) = letter::open(&self.keys, letter) else {
            return counters.count("letter_unopened");
        };
        let key = self.keys.public();
        match PodSetup::verify(&content, &self.claim, self.id, key, self.newest) {
            Ok(setup) => {
                self.dead_man.heard(Instant::now());
                self.set_up(&setup);
            }
            Err(error) => {
                tracing::warn!(%error, "a set-up was refused");
                counters.count("setup_refused");
            }
        }
    }

    fn set_up(&mut self, setup: &PodSetup) {
        for end in &setup.lanes {
            let Some(lane) = Lane::of(end) else { continue };
            match end {
                LaneEnd::Send(end) => {
                    self.endpoint.install_send(lane.id(), end.clone(), SEND_QUOTA);
                }
                LaneEnd::Receive(end) => self.endpoint.install_receive(lane.id(), end.clone()),
            }
        }
        let same_term = self.newest.is_some_and(|(term, _)| term == setup.term);
        self.newest = Some((setup.term, setup.sequence));
        if same_term {
            // Lanes were rebuilt; the layer goes on.
            return;
        }
        let key = LayerKey::from_bytes(*setup.layer_key.expose());
        match &mut self.machine {
            // The owner's next designer: the layer's states are still here.
            Some(machine) if machine.is_of(&key) => machine.begin_term(setup.term),
            _ => {
                let gives = setup.lanes.iter().any(|e| Lane::of(e) == Some(Lane::BackwardOut));
                let machine = Machine::new(key, self.profile.clone(), setup.term, gives);
                self.machine = Some(machine);
            }
        }
        if let Some(machine) = &mut self.machine {
            machine.hello();
        }
    }

    fn send(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        if self.timed != machine.is_timed() {
            self.timed = machine.is_timed();
            self.endpoint.set_timed(self.timed);
        }
        for send in machine.take_outbox() {
            self.endpoint.send(send.lane.id(), send.header, send.payload);
        }
    }

    fn refresh(&mut self) {
        let since = self.refreshed.replace(Instant::now()).map(|last| last.elapsed());
        if let Some(early) = since.and_then(|since| REFRESH.checked_sub(since)) {
            std::thread::sleep(early);
        }
        match self.runtime.block_on(self.registry.directory()) {
            Ok(directory) => {
                let nodes = directory.nodes.into_iter().map(|node| (node.id, node.url)).collect();
                self.endpoint.set_directory(nodes);
                self.endpoint.set_clock(self.registry.clock());
            }
            Err(error) => tracing::warn!(%error, "the directory cannot be read"),
        }
    }
}
