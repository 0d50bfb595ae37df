//! Writes checkpoints on a thread of its own, so that training does not wait for the store.

use crate::record::Record;
use crate::{CheckpointSpec, DesignerError};
use mixnn_node::{NodeArgs, RegistryClient};
use mixnn_protocol::registration::Head;
use mixnn_vault::{Checkpoint, Manifest, Vault, VaultError, open_store};
use std::future::Future;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// What became of a checkpoint.
pub(crate) enum Written {
    /// It is whole, and known outside of the store.
    Whole { checkpoint: Checkpoint, milliseconds: f64 },
    /// It could not be written.
    Failed { step: u64, message: String },
}

type Job = (Checkpoint, Vec<Vec<u8>>);

/// The owner's checkpoints, and the thread that writes them.
pub(crate) struct Keeper {
    pub(crate) vault: Vault,
    runtime: Runtime,
    jobs: mpsc::Sender<Job>,
    written: mpsc::Receiver<Written>,
    /// The term of this designer.
    term: u32,
    /// Whether a checkpoint is being written.
    pub(crate) busy: bool,
    /// The number that the next checkpoint gets.
    next: u64,
    /// The newest whole checkpoint.
    pub(crate) newest: Option<Checkpoint>,
}

impl Keeper {
    /// Opens the store, and finds the newest checkpoint of this model.
    pub(crate) fn open(
        spec: &CheckpointSpec,
        args: &NodeArgs,
        head: Head,
    ) -> Result<Self, DesignerError> {
        let vault = Vault::new(open_store(&spec.store)?, spec.keys.clone());
        let stopped = |e: std::io::Error| DesignerError::Stopped(e.to_string());
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (own, theirs) = (runtime().map_err(stopped)?, runtime().map_err(stopped)?);
        let newest = own.block_on(vault.newest())?;
        if !spec.accept_older {
            Vault::check_head(newest.as_ref().map(Checkpoint::manifest), &head)?;
        }
        let numbers = own.block_on(vault.numbers())?;
        let next = numbers.last().copied().unwrap_or(0).max(head.checkpoint) + 1;
        let (jobs, work) = mpsc::channel();
        let (done, written) = mpsc::channel();
        let (registry, writer, keep) = (RegistryClient::new(args)?, vault.clone(), spec.keep);
        let write = move || {
            let mut head = head;
            while let Ok((checkpoint, shards)) = work.recv() {
                let job = write(&writer, &registry, &mut head, keep, checkpoint, shards);
                if done.send(theirs.block_on(job)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("keeper".into()).spawn(write).map_err(stopped)?;
        Ok(Self { vault, runtime: own, jobs, written, term: head.term, busy: false, next, newest })
    }

    /// What the designer before this one left, if there was one.
    pub(crate) fn record(&self) -> Result<Option<Record>, VaultError> {
        self.wait_for(self.vault.session(self.term))
    }

    /// Writes down what a designer that takes over must know.
    pub(crate) fn put_record(&self, record: &Record) -> Result<(), VaultError> {
        self.wait_for(self.vault.put_session(self.term, record))
    }

    /// Removes what earlier designers left: this one's record holds it by now.
    pub(crate) fn forget_older_records(&self) -> Result<(), VaultError> {
        self.wait_for(self.vault.forget_sessions(self.term))
    }

    /// The newest checkpoint is damaged: the one before it takes its place, if there is one.
    pub(crate) fn fall_back(&mut self) -> Result<(), VaultError> {
        let number = self.newest.as_ref().map_or(0, |newest| newest.manifest().number);
        self.newest = self.wait_for(self.vault.newest_before(number))?;
        Ok(())
    }

    /// Begins a checkpoint: the keys to seal to follow from it.
    pub(crate) fn begin(&mut self, mut manifest: Manifest) -> Checkpoint {
        manifest.number = self.next;
        self.next += 1;
        Checkpoint::begin(self.vault.keys(), manifest)
    }

    /// Hands a checkpoint over to be written.
    pub(crate) fn write(&mut self, checkpoint: Checkpoint, shards: Vec<Vec<u8>>) {
        self.busy = self.jobs.send((checkpoint, shards)).is_ok();
    }

    /// What became of the checkpoint that was being written, if it is known by now.
    pub(crate) fn poll(&mut self, within: Duration) -> Option<Written> {
        if !self.busy {
            return None;
        }
        let written = self.written.recv_timeout(within).ok();
        self.busy = written.is_none();
        written
    }

    /// Does something with the store, and waits for it.
    pub(crate) fn wait_for<T>(
        &self,
        work: impl Future<Output = Result<T, VaultError>>,
    ) -> Result<T, VaultError> {
        self.runtime.block_on(work)
    }
}

async fn write(
    vault: &Vault,
    registry: &RegistryClient,
    head: &mut Head,
    keep: usize,
    checkpoint: Checkpoint,
    shards: Vec<Vec<u8>>,
) -> Written {
    let start = Instant::now();
    let Manifest { number, step, .. } = *checkpoint.manifest();
    let failed = |message: String| Written::Failed { step, message };
    let checkpoint = match vault.save(checkpoint, shards).await {
        Ok(checkpoint) => checkpoint,
        Err(error) => return failed(error.to_string()),
    };
    let next = Head { checkpoint: number, step, ..*head };
    match registry.advance(*head, next).await {
        Ok(advanced) => *head = advanced,
        Err(error) => return failed(format!("telling the platform of it: {error}")),
    }
    if let Err(error) = vault.prune(keep).await {
        tracing::warn!(%error, "old checkpoints cannot be removed");
    }
    Written::Whole { checkpoint, milliseconds: start.elapsed().as_secs_f64() * 1e3 }
}
