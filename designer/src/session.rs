//! A ring that works, from nothing or after a fault: one way for both.
//!
//! ```text
//! gather     a pod for every layer, relays enough            directory
//! set up     the lanes that are broken, with fresh keys      letters
//! greet      new pods: hello, assignment, ready              command lanes
//! halt       nothing of earlier attempts; every lane probed  all lanes
//! agree      the newest step that every layer can go back to, by itself or from the vault
//! restore    the state of a layer that does not hold it      vault
//! roll back
//! ```
//!
//! Any of it may be interrupted by the next fault; then it begins again.

use crate::cover::{CoverPlan, privacy};
use crate::deal::Deal;
use crate::fault::{Fault, Interrupt};
use crate::keeper::Keeper;
use crate::known::{Known, Readiness};
use crate::mailbox::Mailbox;
use crate::pool::Pool;
use crate::record::Record;
use crate::serve::Loaded;
use crate::setup::{Setup, check_sizes};
use crate::shunned::Shunned;
use crate::{CheckpointSpec, DesignerError};
use mixnn_crds::RelaysSpec;
use mixnn_events::{Mode, Recovered};
use mixnn_model::{Element, LossPlacement, Model};
use mixnn_nn::OwnerSecret;
use mixnn_node::{NodeArgs, Started};
use mixnn_protocol::control::{Assignment, Command, Profile};
use mixnn_protocol::{KeyPair, NodeId, SystemRng};
use mixnn_transport::{Endpoint, EndpointConfig, LaneId, Limits};
use mixnn_vault::Checkpoint;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// For pods and relays to register.
const GATHER: Duration = Duration::from_secs(120);
/// For pods of the right numeric profile, where others came.
const MISFITS: Duration = Duration::from_secs(20);
/// Pods that die before they are seen take claims with them: new ones are published so often.
const RESTOCK: Duration = Duration::from_secs(3);
/// For layers to answer, at first; each further try waits longer.
const ANSWER: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// A store that has refused is left alone for so long.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Recoveries in a row without a step, and the time that they are given at least.
const TRIES: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(120);

/// What a ring is made for: to train a model, or to serve it.
pub(crate) struct RingSpec<'a> {
    pub(crate) model: &'a Model,
    pub(crate) relays: &'a RelaysSpec,
    /// The most layers that one host may ever see.
    pub(crate) layers_per_host: usize,
    pub(crate) owner: &'a OwnerSecret,
    /// How to register.
    pub(crate) args: &'a NodeArgs,
    /// The numeric profile of this process, which all layers must share.
    pub(crate) profile: Profile,
    /// The most batches on their way at once.
    pub(crate) in_flight: usize,
    /// The most samples of one of them.
    pub(crate) batch: usize,
    /// Optimizer steps in all.
    pub(crate) total_steps: u64,
    /// Without a word from any layer for so long, what is on its way is taken back.
    pub(crate) stall: Duration,
    /// CPU cores of all relays and layer pods together, for the rate of cover; by default one each.
    pub(crate) cores: Option<f64>,
    /// Every so many steps each layer keeps its state for a rollback.
    pub(crate) snapshot_every: u64,
    /// Whether layers tell where their time goes.
    pub(crate) timed: bool,
    /// Where these states are kept too, sealed, and what a designer that takes over must know.
    pub(crate) checkpoints: Option<CheckpointSpec>,
}

/// Weights that all layers are to hold, from elsewhere than the vault.
pub(crate) struct Given {
    pub(crate) version: Loaded,
    /// The pods that have been given theirs.
    pub(crate) held: HashSet<NodeId>,
}

impl Given {
    /// No pod has been given any.
    pub(crate) fn new(version: Loaded) -> Self {
        Self { version, held: HashSet::new() }
    }
}

/// A designer with its ring.
pub(crate) struct Session<'a> {
    pub(crate) spec: &'a RingSpec<'a>,
    pub(crate) mailbox: Mailbox<'a>,
    pub(crate) keeper: Option<Keeper>,
    /// The checkpoint whose states are being brought in.
    pub(crate) taking: Option<Checkpoint>,
    /// Whether layers begin with weights that were brought in.
    pub(crate) imported: bool,
    /// What is served, if anything is: then layers hold this and nothing else.
    pub(crate) given: Option<Given>,
    /// Tries since a step was committed.
    tries: u32,
    /// When the first of them began.
    since: Instant,
    /// Layers that did not answer in the last try.
    silent: Vec<usize>,
    shunned: Shunned,
    cover: Option<CoverPlan>,
    /// All lanes are to be drawn anew, because the cover's rate has changed.
    redraw: bool,
    /// When the lanes that were set up last begin to carry cells.
    begins: Instant,
}

impl<'a> Session<'a> {
    /// Registers, and takes the model over.
    pub(crate) fn open(spec: &'a RingSpec<'a>, started: Started) -> Result<Self, DesignerError> {
        let (layers, relays) = (spec.model.layers(), spec.relays);
        check_sizes(layers, spec.in_flight, spec.batch)?;
        let keys = KeyPair::generate(spec.args.suite.into(), &mut SystemRng);
        let Started { listener, url, metrics } = started;
        let limits = limits(layers.len(), relays.hops);
        let (endpoint, events) = Endpoint::start(EndpointConfig { listener, metrics, limits })
            .map_err(|e| DesignerError::Stopped(e.to_string()))?;
        let pool = Pool::register(spec.args, &url, &keys, &spec.profile)?;
        let keeper = match &spec.checkpoints {
            Some(kept) => Some(Keeper::open(kept, spec.args, pool.head)?),
            None => None,
        };
        let newest = keeper.as_ref().and_then(|k| k.newest.as_ref());
        let imported = newest.is_some_and(|n| n.manifest().imported);
        let mut session = Self {
            imported,
            spec,
            mailbox: Mailbox::new(
                endpoint,
                events,
                pool,
                layers,
                Deal::new(layers.len(), spec.layers_per_host),
                relays.hops as usize,
            ),
            keeper,
            taking: None,
            given: None,
            tries: 0,
            since: Instant::now(),
            silent: Vec::new(),
            shunned: Shunned::default(),
            cover: CoverPlan::new(relays, layers.len(), spec.cores),
            redraw: false,
            begins: Instant::now(),
        };
        if spec.timed {
            session.mailbox.keep_times();
        }
        session.check_newest()?;
        session.take_up_record()?;
        session.stock_claims(layers.len())?;
        Ok(session)
    }

    /// Pods bear claims of the designer before this one: its record says which.
    fn take_up_record(&mut self) -> Result<(), DesignerError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let Some(record) = keeper.record()? else { return Ok(()) };
        record.take_up(&mut self.mailbox.pool, &mut self.mailbox.deal);
        self.keep_record()?;
        Ok(keeper.forget_older_records()?)
    }

    /// Publishes claims for `needed` pods and some in stock. They are written down before anyone can
    /// bear them.
    fn stock_claims(&mut self, needed: usize) -> Result<(), DesignerError> {
        let missing = self.mailbox.pool.claims_missing(needed);
        if missing == 0 {
            return Ok(());
        }
        self.publish(missing)
    }

    fn publish(&mut self, count: usize) -> Result<(), DesignerError> {
        let claims = self.mailbox.pool.draw_claims(count);
        self.keep_record()?;
        self.mailbox.pool.publish(claims)
    }

    fn keep_record(&self) -> Result<(), DesignerError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let record = Record::of(&self.mailbox.pool, &self.mailbox.deal);
        Ok(keeper.put_record(&record)?)
    }

    /// What weakens the protection, and how the ring is made.
    pub(crate) fn mode(&self) -> Mode {
        let relays = self.spec.relays;
        let mut warnings = relays.warnings();
        let given_up = self.mailbox.ring.wishes_given_up;
        if given_up > 0 {
            warnings.push(format!(
                "{given_up} places on lanes share a host with another of the lane: let more teams host relays"
            ));
        }
        Mode::Distributed {
            relays: self.mailbox.pool.relays.len() as u32,
            hops: relays.hops,
            suite: format!("{:?}", mixnn_protocol::Suite::from(self.spec.args.suite)),
            warnings,
            privacy: privacy(relays, self.cover.as_ref(), &self.mailbox.ring.crossing_lanes()),
        }
    }

    /// A step has been committed: the recovery is over.
    pub(crate) const fn progressed(&mut self) {
        self.tries = 0;
    }

    /// Makes the ring work, whatever happens meanwhile. Gives the step after which training goes on,
    /// at most `committed` if that is known.
    pub(crate) fn establish(
        &mut self,
        mut fault: Option<Fault>,
        committed: Option<u64>,
    ) -> Result<Recovered, DesignerError> {
        let start = Instant::now();
        let redrawn = self.mailbox.ring.redrawn;
        let mut replaced: Vec<usize> = Vec::new();
        loop {
            if let Some(fault) = &fault {
                self.count(fault)?;
            }
            match self.try_to_establish(fault.take(), committed, &mut replaced) {
                Ok(step) => {
                    let name = |&i: &usize| self.layer_name(i);
                    return Ok(Recovered {
                        committed: committed.unwrap_or(step),
                        resumed_after: step,
                        layers: replaced.iter().map(name).collect(),
                        lanes: self.mailbox.ring.redrawn - redrawn,
                        milliseconds: start.elapsed().as_secs_f64() * 1e3,
                    });
                }
                Err(Interrupt::Fatal(error)) => return Err(error),
                Err(Interrupt::Fault(next)) => {
                    tracing::warn!("while setting up: {next}");
                    if let Fault::Store(_) = next {
                        std::thread::sleep(STORE_PAUSE);
                    }
                    fault = Some(next);
                }
            }
        }
    }

    fn count(&mut self, fault: &Fault) -> Result<(), DesignerError> {
        if self.tries == 0 {
            self.since = Instant::now();
        }
        self.tries += 1;
        let waited = self.since.elapsed();
        if self.tries > TRIES && waited > PATIENCE.max(4 * self.spec.stall) {
            let (tries, seconds) = (self.tries, waited.as_secs());
            return Err(DesignerError::Unrecovered { tries, seconds, last: fault.to_string() });
        }
        Ok(())
    }

    fn try_to_establish(
        &mut self,
        fault: Option<Fault>,
        committed: Option<u64>,
        replaced: &mut Vec<usize>,
    ) -> Result<u64, Interrupt> {
        let suspected = self.suspect(fault);
        self.mailbox.next_attempt();
        self.mailbox.gathering = None;
        self.taking = None;
        let vacated = self.gather(replaced)?;
        self.set_up_lanes(&vacated, &suspected)?;
        self.greet()?;
        if !self.mailbox.halt(self.answer())? {
            return Err(self.mailbox.silent().into());
        }
        self.silent.clear();
        let step = self.agree(committed);
        self.restore(step)?;
        self.roll_back(step)?;
        Ok(step)
    }

    /// The lanes to be drawn anew although everyone on them is alive: those at fault, and all over relays
    /// that took no letter. A layer that stays silent over fresh lanes loses its pod, if another one is
    /// there to take its place.
    fn suspect(&mut self, fault: Option<Fault>) -> Vec<LaneId> {
        if matches!(fault, Some(Fault::Silent { .. } | Fault::Stalled { .. })) {
            self.slow_down();
        }
        let Some(Fault::Silent { mut lanes, proven, layers, .. }) = fault else {
            return Vec::new();
        };
        let unreachable = std::mem::take(&mut self.mailbox.unreachable);
        self.shunned.suspect(&self.mailbox.ring, &lanes, &proven, &unreachable);
        lanes.extend(self.mailbox.ring.broken(&[], |relay| !self.shunned.is_unreachable(relay)));
        let still: Vec<usize> =
            layers.iter().copied().filter(|l| self.silent.contains(l)).collect();
        for layer in still.into_iter().take(self.mailbox.pool.fresh.len()) {
            tracing::warn!("layer \"{}\" gets another pod", self.layer_name(layer));
            self.mailbox.deal.vacate(layer);
        }
        layers.iter().for_each(|&layer| self.mailbox.known[layer].doubt());
        self.silent = layers;
        lanes
    }

    /// Under cover, a fault that repeats without a step in between is most likely a rate that is too high:
    /// cells are lost where a process has no CPU for its slots.
    fn slow_down(&mut self) {
        let Some(cover) = self.cover.as_mut().filter(|_| self.tries > 1) else { return };
        if let Some(rate) = cover.slow_down() {
            tracing::warn!("cover slows down to {rate} cells a second on each lane");
            self.redraw = true;
        }
    }

    /// For layers to answer, from now.
    pub(crate) fn answer(&self) -> Duration {
        let cover = self.begins.saturating_duration_since(Instant::now());
        cover + (ANSWER * 2_u32.saturating_pow(self.tries.saturating_sub(1))).min(LONGEST_ANSWER)
    }

    /// Waits until every layer has a living pod and there are relays enough. Gives the layers whose
    /// pods are new.
    fn gather(&mut self, replaced: &mut Vec<usize>) -> Result<Vec<usize>, Interrupt> {
        let start = Instant::now();
        let mut restocked = Instant::now();
        let mut vacated: Vec<usize> = Vec::new();
        loop {
            self.mailbox.refresh()?;
            let (pool, deal) = (&mut self.mailbox.pool, &mut self.mailbox.deal);
            let gone: Vec<usize> =
                deal.pods().filter(|(_, p)| !pool.has(p.id)).map(|(i, _)| i).collect();
            gone.iter().for_each(|&i| deal.vacate(i));
            vacated.extend(deal.vacant());
            deal.fill(&mut pool.fresh);
            let vacant = deal.vacant();
            let relays = self.mailbox.pool.relays.len();
            if vacant.is_empty() && relays >= self.relays_needed() {
                break;
            }
            if restocked.elapsed() >= RESTOCK && !vacant.is_empty() {
                self.publish(vacant.len())?;
                restocked = Instant::now();
            }
            let misfits = self.mailbox.pool.misfits();
            if misfits.is_some() && !vacant.is_empty() && start.elapsed() > MISFITS {
                return Err(self.other_profile(misfits).into());
            }
            if start.elapsed() > GATHER {
                return Err(self.nobody_came(&vacant).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        vacated.sort_unstable();
        vacated.dedup();
        for &layer in &vacated {
            self.mailbox.known[layer] = Known::default();
            if !replaced.contains(&layer) {
                replaced.push(layer);
            }
        }
        if !vacated.is_empty() {
            self.keep_record()?;
        }
        self.stock_claims(0)?;
        Ok(vacated)
    }

    /// At the start all that the model asks for, so that paths are drawn from all of its own relays; later as many as a
    /// lane needs. Of a shared pool too: how large that is, is the platform's to say.
    fn relays_needed(&self) -> usize {
        let relays = self.spec.relays;
        let at_start = self.mailbox.ring.relays().next().is_none();
        if at_start && !relays.shared { relays.replicas as usize } else { relays.hops as usize }
    }

    fn other_profile(&self, misfits: Option<(usize, Profile)>) -> DesignerError {
        let (pods, found) = misfits.unwrap_or_else(|| (0, self.spec.profile.clone()));
        DesignerError::Profile { pods, found, wanted: self.spec.profile.clone() }
    }

    fn nobody_came(&self, vacant: &[usize]) -> DesignerError {
        let names: Vec<String> =
            vacant.iter().map(|&i| format!("\"{}\"", self.layer_name(i))).collect();
        let relays = (self.mailbox.pool.relays.len(), self.relays_needed());
        let mut what = format!("{} of {} relays are there", relays.0, relays.1);
        if !names.is_empty() {
            what = format!("no pod for layer {}; {what}", names.join(", "));
        }
        let what = format!("{what}: look at the pods that are missing");
        DesignerError::Deadline { seconds: GATHER.as_secs(), what }
    }

    pub(crate) fn layer_name(&self, layer: usize) -> String {
        self.spec.model.layers()[layer].spec.name.clone()
    }

    fn set_up_lanes(
        &mut self,
        vacated: &[usize],
        suspected: &[LaneId],
    ) -> Result<(), DesignerError> {
        let spec = self.spec;
        let mailbox = &mut self.mailbox;
        // A pod that has said nothing yet may know of no lane: the letter that would tell it of a few alone
        // would be obeyed as if these were all.
        let unheard = (0..mailbox.known.len()).filter(|&i| !mailbox.known[i].hello);
        let ends: Vec<usize> = unheard.chain(vacated.iter().copied()).collect();
        let mut lanes = mailbox.ring.broken(&ends, |relay| mailbox.pool.has(relay));
        lanes.extend(suspected);
        if std::mem::take(&mut self.redraw) {
            lanes = (0..mailbox.ring.lanes.len() as LaneId).collect();
        }
        lanes.sort_unstable();
        lanes.dedup();
        if lanes.is_empty() {
            return Ok(());
        }
        let hops = spec.relays.hops as usize;
        let relays = self.shunned.rest_of(&mailbox.pool.relays, hops);
        let mut setup = Setup {
            pool: &mailbox.pool,
            relays: &relays,
            deal: &mut mailbox.deal,
            layers: spec.model.layers(),
            owner: spec.owner,
            hops,
            micro_batches: spec.in_flight,
            micro_batch_size: spec.batch,
            cover: self.cover.as_ref(),
        };
        let letters = setup.set_up(&mut mailbox.ring, &lanes, suspected, &mailbox.endpoint)?;
        let margin = self.cover.map_or(Duration::ZERO, |_| CoverPlan::margin(letters));
        self.begins = Instant::now() + margin;
        Ok(())
    }

    /// New pods say hello, get their assignments, and answer.
    fn greet(&mut self) -> Result<(), Interrupt> {
        let within = self.answer();
        let hello = |m: &mut Mailbox<'_>| m.known.iter().all(|k| k.hello).then_some(());
        if self.mailbox.wait(within, hello)?.is_none() {
            return Err(self.unanswered(|k| !k.hello, "has not said hello"));
        }
        // To build a layer takes a while; to be told again what it is does not.
        let builds = self.mailbox.known.iter().any(|k| k.readiness == Readiness::Unbuilt);
        let within = if builds { within.max(LONGEST_ANSWER) } else { within };
        let assignments = self.assignments();
        let assign = |i: usize| Command::Assign(assignments[i].clone());
        if !self.mailbox.ask(&assign, 0, within, &Known::is_ready)? {
            return Err(self.unanswered(|k| !k.is_ready(), "has not answered its assignment"));
        }
        Ok(())
    }

    pub(crate) fn unanswered(&self, is_missing: impl Fn(&Known) -> bool, what: &str) -> Interrupt {
        let known = &self.mailbox.known;
        let layers: Vec<usize> = (0..known.len()).filter(|&i| is_missing(&known[i])).collect();
        let ring = &self.mailbox.ring;
        let control = |layers: &mut dyn Iterator<Item = usize>| {
            layers.flat_map(|i| ring.control_lanes(i)).collect()
        };
        let lanes = control(&mut layers.iter().copied());
        let proven = control(&mut (0..known.len()).filter(|i| !layers.contains(i)));
        let what = format!("layer {} {what}", self.mailbox.names_of(is_missing));
        Fault::Silent { lanes, proven, layers, what }.into()
    }

    fn assignments(&self) -> Vec<Assignment> {
        let model = self.spec.model;
        let sizes = |shape: &mixnn_model::Shape| shape.sizes().iter().map(|&s| s as u32).collect();
        let last = model.layers().len() - 1;
        let loss = &model.training().loss;
        let one = |(i, layer): (usize, &mixnn_model::Layer)| Assignment {
            ops: layer.spec.ops.clone(),
            input: sizes(&layer.input),
            vocabulary: match layer.input.element() {
                Element::Token(vocabulary) => Some(vocabulary as u32),
                Element::Real => None,
            },
            output: sizes(&layer.output),
            micro_batches: model.training().micro_batches_per_step(),
            learning: model.learning(layer, self.spec.total_steps),
            device: layer.spec.device,
            loss: (i == last && loss.placement == LossPlacement::LastLayer).then(|| loss.clone()),
            profile: self.spec.profile.clone(),
            snapshot_every: self.spec.snapshot_every,
            imported: self.imported,
            timed: self.spec.timed,
        };
        model.layers().iter().enumerate().map(one).collect()
    }

    /// The newest step that every layer can go back to by itself.
    fn agree(&self, committed: Option<u64>) -> u64 {
        if let Some(given) = &self.given {
            return given.version.number;
        }
        let known = &self.mailbox.known;
        let Some(first) = known.first() else { return 0 };
        let everywhere = |step: &&u64| known.iter().all(|k| k.kept().contains(step));
        let within = |step: &&u64| committed.is_none_or(|c| **step <= c);
        let kept = first.kept().iter().filter(within).filter(everywhere).max().copied();
        let saved = self.saved().filter(|step| within(&step));
        kept.max(saved).unwrap_or(0)
    }

    fn roll_back(&mut self, step: u64) -> Result<(), Interrupt> {
        let attempt = self.mailbox.attempt;
        let back = |k: &Known| k.rolled_back == Some(attempt);
        if !self.mailbox.ask(&|_| Command::Rollback, step, self.answer(), &back)? {
            return Err(self.unanswered(|k| !back(k), "has not gone back"));
        }
        self.mailbox.known.iter_mut().for_each(|known| known.applied = step);
        Ok(())
    }
}

/// All letters of a ring leave at once.
fn limits(layers: usize, hops: u32) -> Limits {
    let letters = (4 * layers + 1) * hops as usize + layers;
    // All of them may be for one relay.
    Limits { letters: (2 * letters).max(Limits::default().letters), ..Limits::default() }
}
