//! Serving over the ring: batches in at the designer's first lane, answers out of its last.

use super::front::Front;
use super::gate::{Gate, Way};
use super::shelf::Loaded;
use super::{Told, catalogue::Catalogue};
use crate::DesignerError;
use crate::fault::{Fault, Interrupt};
use crate::mailbox::Mailbox;
use crate::session::{Given, RingSpec, Session};
use mixnn_node::Started;
use mixnn_protocol::Kind;
use mixnn_protocol::control::{Command, FailureReason};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How soon the end, a newer version, or a batch that is late is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// Relays forget a lane without cells after an hour: all are used so often.
const USE: Duration = Duration::from_secs(900);
/// For what is queued at the end.
const FINISH: Duration = Duration::from_secs(5);

/// What serving over the ring works with.
pub(super) struct Serving<'a> {
    pub(super) gate: Arc<Gate>,
    pub(super) catalogue: Catalogue,
    pub(super) front: Front,
    /// Newer versions.
    pub(super) versions: Receiver<Loaded>,
    /// One that waits to be taken up.
    pub(super) next: Option<Loaded>,
    pub(super) told: Told<'a>,
    /// Asked at the end: whether the layers shall wait for another designer.
    pub(super) stay: &'a dyn Fn() -> bool,
}

impl Serving<'_> {
    /// Sets the ring up with the first version, and serves until the server has drained.
    pub(super) fn run(
        mut self,
        spec: &RingSpec<'_>,
        started: Started,
        first: Loaded,
    ) -> Result<(), DesignerError> {
        let ended = Session::open(spec, started).and_then(|mut session| {
            session.imported = true;
            session.given = Some(Given::new(first));
            self.establish(&mut session, None)?;
            self.serve(&mut session)?;
            session.mailbox.end_leases()?;
            if !(self.stay)() {
                session.mailbox.command_all(&Command::Finish, 0)?;
            }
            session.mailbox.close(FINISH);
            Ok(())
        });
        self.gate.end();
        ended
    }

    fn serve(&mut self, session: &mut Session<'_>) -> Result<(), DesignerError> {
        let mut used = Instant::now();
        while !self.front.has_ended() {
            match self.turn(session, &mut used) {
                Ok(()) => {}
                Err(Interrupt::Fault(fault)) => self.recover(session, fault)?,
                Err(Interrupt::Fatal(DesignerError::Layer { layer, failure }))
                    if failure.reason != FailureReason::Assignment =>
                {
                    let what = format!("layer \"{layer}\": {}", failure.message);
                    self.recover(session, Fault::Failed(what))?;
                }
                Err(Interrupt::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Hands over what has come, or waits a little.
    fn turn(&mut self, session: &mut Session<'_>, used: &mut Instant) -> Result<(), Interrupt> {
        if self.next.is_none() {
            self.next = self.versions.try_recv().ok();
        }
        // Setting up probes every lane, those too on which requests never go.
        if self.next.is_some() || used.elapsed() >= USE {
            self.renew(session)?;
            *used = Instant::now();
        }
        session.mailbox.tend_leases()?;
        session.said().into_iter().for_each(|said| self.told.said(said));
        self.pump(session)
    }

    fn pump(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let some = |m: &mut Mailbox<'_>| (!m.outputs.is_empty()).then_some(());
        session.mailbox.wait(LOOK, some)?;
        let Some(given) = &session.given else { return Ok(()) };
        let version = given.version.name();
        while let Some(output) = session.mailbox.outputs.pop_front() {
            if output.header.kind == Kind::Evaluation {
                self.gate.answer(&version, output).map_err(Fault::Failed)?;
                session.progressed();
            }
        }
        let stall = session.spec.stall;
        if self.gate.oldest().is_some_and(|age| age >= stall) {
            let what = "the answer to a batch".to_owned();
            return Err(Fault::Stalled { seconds: stall.as_secs(), what }.into());
        }
        Ok(())
    }

    /// Lets what is on its way come through; then sets up again, with the next version if there is one.
    /// Requests wait.
    fn renew(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        self.gate.shut();
        while self.gate.oldest().is_some() {
            self.pump(session)?;
        }
        if let Some(version) = self.next.take() {
            session.given = Some(Given::new(version));
        }
        Ok(self.establish(session, None)?)
    }

    fn recover(&mut self, session: &mut Session<'_>, fault: Fault) -> Result<(), DesignerError> {
        self.gate.lose();
        self.catalogue.pause("it is being repaired");
        self.told.fault(&fault);
        self.establish(session, Some(fault))
    }

    /// Makes the ring work with the version that is to be served, and opens the gate.
    fn establish(
        &mut self,
        session: &mut Session<'_>,
        fault: Option<Fault>,
    ) -> Result<(), DesignerError> {
        let is_repair = fault.is_some();
        let recovered = session.establish(fault, None)?;
        let Some(given) = &session.given else { return Ok(()) };
        let mailbox = &session.mailbox;
        self.gate.open(Way {
            endpoint: mailbox.endpoint.clone(),
            lane: mailbox.ring.name(mailbox.first_lane()),
            term: mailbox.pool.head.term,
            attempt: mailbox.attempt,
        });
        self.catalogue.serve(given.version.number);
        if is_repair {
            self.told.recovered(recovered);
        }
        self.told.serving(&self.front.url, given.version.number);
        Ok(())
    }
}
