//! Taking checkpoints while training goes on, and giving a layer its state back.

use crate::fault::{Fault, Interrupt};
use crate::gathering::Gathering;
use crate::keeper::{Keeper, Written};
use crate::mailbox::Mailbox;
use crate::session::{Given, Session};
use crate::setup::PARTS;
use crate::{DesignerError, Emitter};
use mixnn_events::{CheckpointFailed, Checkpointed, Event};
use mixnn_model::Model;
use mixnn_nn::{OwnerSecret, model_digest};
use mixnn_place::Place;
use mixnn_protocol::Suite;
use mixnn_protocol::control::{Command, PART, Profile};
use mixnn_vault::{Checkpoint, Keys, Manifest, ShardEntry};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// For the last checkpoint.
const LAST: Duration = Duration::from_secs(60);

/// Where checkpoints are kept, and how many.
#[derive(Clone, Debug)]
pub struct CheckpointSpec {
    /// A folder, or a prefix in an object store.
    pub store: Place,
    /// The owner's checkpoint keys.
    pub keys: Arc<Keys>,
    /// How many are kept.
    pub keep: usize,
    /// Go on from the newest checkpoint of the store even if a newer one had been written.
    pub accept_older: bool,
    /// Go on from a checkpoint of another numeric profile: the bits will not be those of an undisturbed run.
    pub accept_profile: bool,
}

/// Tells one model from another: all that the bits depend on but the number of epochs.
pub(crate) fn fingerprint(model: &Model, owner: &OwnerSecret) -> String {
    let specs: Vec<_> = model.layers().iter().map(|l| &l.spec).collect();
    let mut training = model.training().clone();
    training.epochs = 0;
    let text = serde_json::to_vec(&(specs, training)).unwrap_or_default();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let hash: [u8; 32] = hash.as_ref().try_into().unwrap_or_default();
    hex::encode(model_digest(owner, [&hash]))
}

/// What is to be known of a checkpoint of this model, but for when it is taken.
pub(crate) fn blank_manifest(model: &Model, owner: &OwnerSecret, profile: Profile) -> Manifest {
    let entry = |layer: &mixnn_model::Layer| ShardEntry {
        layer: layer.spec.name.clone(),
        object: String::new(),
        bytes: 0,
        sha256: String::new(),
    };
    Manifest {
        number: 0,
        term: 0,
        step: 0,
        model: fingerprint(model, owner),
        profile,
        suite: Suite::XWing,
        salt: String::new(),
        written: 0,
        imported: false,
        layers: model.layers().iter().map(entry).collect(),
    }
}

impl Session<'_> {
    /// The step of the newest checkpoint.
    pub(crate) fn saved(&self) -> Option<u64> {
        let newest = self.keeper.as_ref()?.newest.as_ref()?;
        Some(newest.manifest().step)
    }

    /// Refuses to go on from a checkpoint that is not this model's.
    pub(crate) fn check_newest(&self) -> Result<(), DesignerError> {
        let newest = self.keeper.as_ref().and_then(|k| k.newest.as_ref());
        let (Some(newest), Some(spec)) = (newest, &self.spec.checkpoints) else {
            return Ok(());
        };
        let manifest = newest.manifest();
        let refuse =
            |problem: String| Err(DesignerError::Checkpoint { number: manifest.number, problem });
        if manifest.model != fingerprint(self.spec.model, self.spec.owner) {
            return refuse(
                "is of another model, training or owner's secret: give the file and the secret that it was made with, or another store".into(),
            );
        }
        if manifest.profile != self.spec.profile && !spec.accept_profile {
            return refuse(format!(
                "was made under the numeric profile {:?}, this is {:?}: the bits would differ from an undisturbed run; --accept-profile goes on nevertheless",
                manifest.profile, self.spec.profile
            ));
        }
        Ok(())
    }

    /// Looks after checkpoints: once after every committed step, and after a recovery.
    pub(crate) fn tend<W: Write>(
        &mut self,
        committed: u64,
        emit: &mut Emitter<W>,
    ) -> Result<(), DesignerError> {
        if self.keeper.is_none() {
            return Ok(());
        }
        self.hand_over();
        self.told(Duration::ZERO, emit);
        let is_due = committed > 0
            && committed.checked_rem(self.spec.snapshot_every) == Some(0)
            && self.saved().is_none_or(|saved| saved < committed);
        // One at a time: a slow store makes checkpoints rarer, never training slower.
        let is_free = self.taking.is_none() && self.keeper.as_ref().is_some_and(|k| !k.busy);
        if is_due && is_free { self.begin(committed) } else { Ok(()) }
    }

    fn begin(&mut self, step: u64) -> Result<(), DesignerError> {
        let layers = self.spec.model.layers();
        let manifest = Manifest {
            term: self.mailbox.pool.head.term,
            step,
            imported: self.imported,
            suite: self.spec.args.suite.into(),
            ..blank_manifest(self.spec.model, self.spec.owner, self.spec.profile.clone())
        };
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let checkpoint = keeper.begin(manifest);
        let keys = layers.iter().map(|l| checkpoint.public_key(&l.spec.name)).collect();
        self.taking = Some(checkpoint);
        self.mailbox.gather(Gathering::new(layers, step, keys))
    }

    /// Hands the states over to be written, once they are all here.
    fn hand_over(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        if self.taking.is_some()
            && let Some(gathering) = self.mailbox.gathering.take_if(|g| g.is_whole())
            && let Some(checkpoint) = self.taking.take()
        {
            keeper.write(checkpoint, gathering.into_shards());
        }
    }

    /// Tells what became of the checkpoint that was being written.
    fn told<W: Write>(&mut self, within: Duration, emit: &mut Emitter<W>) {
        let Some(keeper) = &mut self.keeper else { return };
        match keeper.poll(within) {
            None => {}
            Some(Written::Whole { checkpoint, milliseconds }) => {
                let Manifest { number, step, ref layers, .. } = *checkpoint.manifest();
                let bytes = layers.iter().map(|l| l.bytes).sum();
                emit.emit(&Event::Checkpointed(Checkpointed { number, step, bytes, milliseconds }));
                keeper.newest = Some(checkpoint);
            }
            Some(Written::Failed { step, message }) => {
                tracing::warn!(step, message, "a checkpoint could not be written");
                emit.emit(&Event::CheckpointFailed(CheckpointFailed { step, message }));
            }
        }
    }

    /// The checkpoint after the last step: what a longer training goes on from.
    pub(crate) fn last_checkpoint<W: Write>(
        &mut self,
        step: u64,
        emit: &mut Emitter<W>,
    ) -> Result<(), Interrupt> {
        if self.keeper.is_none() {
            return Ok(());
        }
        let whole = |m: &mut Mailbox<'_>| {
            m.gathering.as_ref().is_none_or(Gathering::is_whole).then_some(())
        };
        self.mailbox.wait(LAST, whole)?;
        self.hand_over();
        self.told(LAST, emit);
        if self.saved() == Some(step) {
            return Ok(());
        }
        self.begin(step)?;
        if self.mailbox.wait(LAST, whole)?.is_none() {
            let what = "the states of every layer for the last checkpoint".to_owned();
            return Err(Fault::Stalled { seconds: LAST.as_secs(), what }.into());
        }
        self.hand_over();
        self.told(LAST, emit);
        Ok(())
    }

    /// Gives each layer that does not hold the state after `step` its own back, from the vault.
    pub(crate) fn restore(&mut self, step: u64) -> Result<(), Interrupt> {
        for layer in 0..self.mailbox.known.len() {
            let pod = self.mailbox.deal.seat(layer).map(|seat| seat.pod.id);
            let is_given = |given: &Given| pod.is_some_and(|pod| given.held.contains(&pod));
            let holds = self.mailbox.known[layer].kept().contains(&step);
            if holds && self.given.as_ref().is_none_or(is_given) {
                continue;
            }
            let state = self.state_of(layer, step)?;
            self.restore_layer(layer, step, &state)?;
            if let Some(given) = &mut self.given {
                given.held.extend(pod);
            }
        }
        Ok(())
    }

    fn state_of(&mut self, layer: usize, step: u64) -> Result<Zeroizing<Vec<u8>>, Interrupt> {
        if let Some(state) = self.given.as_ref().and_then(|g| g.version.states.get(layer)) {
            return Ok(Zeroizing::new(state.bytes.clone()));
        }
        let name = self.layer_name(layer);
        let shard_name = self.spec.owner.layer_key(&name).shard_name();
        let found = self.keeper.as_ref().and_then(|k| Some((k, k.newest.as_ref()?)));
        let Some((keeper, newest)) = found.filter(|(_, n)| n.manifest().step == step) else {
            let what =
                format!("layer \"{name}\" has no state after step {step}, nor has the vault");
            return Err(DesignerError::Stopped(what).into());
        };
        match read_state(keeper, newest, &name, shard_name) {
            Ok(state) => Ok(state),
            Err(DesignerError::Vault(error)) if error.is_damage() => {
                Err(self.fall_back(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn restore_layer(&mut self, layer: usize, step: u64, state: &[u8]) -> Result<(), Interrupt> {
        let known = &mut self.mailbox.known[layer];
        (known.took, known.restored) = (0, false);
        self.mailbox.command(layer, &Command::Restore(state.len() as u64), step)?;
        let mut sent = 0;
        let parts = state.chunks(PART).count() as u32;
        let within = self.answer();
        while !self.mailbox.known[layer].restored {
            let took = self.mailbox.known[layer].took;
            while sent < parts.min(took + PARTS as u32) {
                let part = state.chunks(PART).nth(sent as usize).unwrap_or_default();
                self.mailbox.send_part(layer, step, sent, part.to_vec());
                sent += 1;
            }
            let more = |m: &mut Mailbox<'_>| {
                let known = &m.known[layer];
                (known.restored || known.took > took).then_some(())
            };
            if self.mailbox.wait(within, more)?.is_none() {
                return Err(self.unanswered(|k| k.took == took && !k.restored, "takes no state"));
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Gives up a damaged checkpoint. The bits do not change: more steps are made again.
    fn fall_back(&mut self, what: String) -> Interrupt {
        let fallen_back = self.keeper.as_mut().map_or(Ok(()), Keeper::fall_back);
        match fallen_back {
            Ok(()) => Fault::Damaged(what).into(),
            Err(error) => DesignerError::from(error).into(),
        }
    }
}

fn read_state(
    keeper: &Keeper,
    checkpoint: &Checkpoint,
    layer: &str,
    shard_name: [u8; 16],
) -> Result<Zeroizing<Vec<u8>>, DesignerError> {
    Ok(keeper.wait_for(keeper.vault.state(checkpoint, layer, shard_name))?)
}
