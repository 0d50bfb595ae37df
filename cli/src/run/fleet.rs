//! The nodes of a run, each in its slot: started, watched, replaced when they end before their time.
//!
//! The operator does the same with pods. The designer learns of it from the directory alone.

use super::children::{Children, Exit};
use super::folder::RunFolder;
use super::platform::Platform;
use crate::output;
use anyhow::bail;
use mixnn_events::Event;
use mixnn_protocol::registration::{Head, NodeClass};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A process that ends by itself so often without having registered will not start at all.
const FALSE_STARTS: u32 = 3;
/// And one that ends by itself so often after that.
const CRASHES: u32 = 10;
/// Between looks at whether processes are alive.
pub const LOOK: Duration = Duration::from_secs(1);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What is started in a slot.
pub struct Slot {
    class: NodeClass,
    program: PathBuf,
    flags: Vec<OsString>,
    /// How often it has been started.
    generation: u32,
    false_starts: u32,
    crashes: u32,
    /// When it answered last, or was started.
    answered: Instant,
    events: Option<mpsc::Sender<Event>>,
}

/// All nodes of a run.
pub struct Fleet<'a> {
    platform: Platform,
    folder: &'a RunFolder,
    slots: HashMap<String, Slot>,
    http: reqwest::Client,
    /// As it was written down last.
    head: Head,
    /// A process that does not answer for so long is taken for frozen.
    liveness: Duration,
}

impl Slot {
    /// A slot that has not been started.
    pub fn new(class: NodeClass, program: PathBuf, flags: Vec<OsString>) -> Self {
        Self {
            class,
            program,
            flags,
            generation: 0,
            false_starts: 0,
            crashes: 0,
            answered: Instant::now(),
            events: None,
        }
    }

    /// The same, whose standard output is read as events.
    #[must_use]
    pub fn with_events(mut self, events: mpsc::Sender<Event>) -> Self {
        self.events = Some(events);
        self
    }

    fn uid(&self, name: &str) -> String {
        format!("{name}.{}", self.generation)
    }
}

impl<'a> Fleet<'a> {
    /// No node yet.
    pub fn new(
        platform: Platform,
        folder: &'a RunFolder,
        liveness: Duration,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?;
        let head = platform.head();
        Ok(Self { platform, folder, slots: HashMap::new(), http, head, liveness })
    }

    /// Starts a node in a slot of its own.
    pub fn start(
        &mut self,
        name: String,
        slot: Slot,
        children: &mut Children,
    ) -> anyhow::Result<()> {
        self.slots.insert(name.clone(), slot);
        self.launch(&name, children)
    }

    /// Starts the next process of a slot: a new node with a new token.
    fn launch(&mut self, name: &str, children: &mut Children) -> anyhow::Result<()> {
        let Some(slot) = self.slots.get_mut(name) else { return Ok(()) };
        slot.generation += 1;
        slot.answered = Instant::now();
        let mut flags = slot.flags.clone();
        flags.extend(self.platform.admit(self.folder, name, &slot.uid(name), slot.class)?);
        flags.extend(self.platform.flags());
        children.start(name, &slot.program, flags, self.folder, slot.events.clone())?;
        self.folder.write_processes(children.pids())
    }

    /// Replaces a process that has ended before its time.
    ///
    /// # Errors
    /// It ends by itself again and again.
    pub fn replace(&mut self, exit: &Exit, children: &mut Children) -> anyhow::Result<()> {
        let name = &exit.name;
        let Some(slot) = self.slots.get_mut(name) else { bail!(exit.error()) };
        let had_registered = self.platform.retire(&slot.uid(name));
        if !exit.by_signal {
            let (count, most) = if had_registered {
                (&mut slot.crashes, CRASHES)
            } else {
                (&mut slot.false_starts, FALSE_STARTS)
            };
            *count += 1;
            if *count >= most {
                bail!(exit.error());
            }
        }
        output::note(format!("{name} ended ({}); another process takes its place", exit.how));
        self.launch(name, children)
    }

    /// Writes down how far the model has come, if that is news.
    pub fn keep_head(&mut self) -> anyhow::Result<()> {
        let head = self.platform.head();
        if head != self.head {
            self.folder.write_head(&head)?;
            self.head = head;
        }
        Ok(())
    }

    /// Asks every registered process whether it is alive; ends those that have not answered for too
    /// long. They are replaced like any that ends.
    ///
    /// # Errors
    /// The registration service has ended.
    pub async fn check(&mut self, children: &Children) -> anyhow::Result<()> {
        self.platform.check().await?;
        let mut asked = JoinSet::new();
        for (name, slot) in &self.slots {
            let Some(url) = self.platform.url(&slot.uid(name)) else { continue };
            let (name, request) = (name.clone(), self.http.get(format!("{url}/healthz")));
            asked.spawn(async move { (name, request.send().await.is_ok()) });
        }
        while let Some(answer) = asked.join_next().await {
            let Ok((name, alive)) = answer else { continue };
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            if alive {
                slot.answered = Instant::now();
            } else if slot.answered.elapsed() > self.liveness {
                let seconds = self.liveness.as_secs();
                output::warning(format!("{name} has not answered for {seconds} s: it is ended"));
                children.kill(&name);
            }
        }
        Ok(())
    }
}
