//! All outgoing links of a process.

use crate::outbox::Outbox;
use crate::{Authority, Counters, Limits, link};
use mixnn_protocol::{Cell, CellDrop};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Outgoing links, made when a lane first needs one. Lives in one `LocalRuntime` or `LocalSet`.
#[derive(Clone)]
pub struct Links(Rc<Inner>);

struct Inner {
    limits: Limits,
    counters: Arc<Counters>,
    open: RefCell<HashMap<Authority, Weak<RefCell<Outbox>>>>,
    tasks: RefCell<JoinSet<()>>,
    down: Box<dyn Fn(&Authority)>,
}

impl Links {
    /// No links yet. `down` is called each time a peer cannot be reached, or breaks off.
    pub fn new(
        limits: Limits,
        counters: Arc<Counters>,
        down: impl Fn(&Authority) + 'static,
    ) -> Self {
        Self(Rc::new(Inner {
            limits,
            counters,
            open: RefCell::default(),
            tasks: RefCell::default(),
            down: Box::new(down),
        }))
    }

    /// Opens a lane's queue of at most `quota` cells to a peer.
    ///
    /// # Panics
    /// Outside of a `LocalRuntime` or `LocalSet`.
    pub fn lane(&self, peer: &Authority, quota: u32) -> LaneSlot {
        let outbox = self.outbox(peer);
        let lane = outbox.borrow_mut().open_lane(quota);
        LaneSlot { outbox, lane }
    }

    fn outbox(&self, peer: &Authority) -> Rc<RefCell<Outbox>> {
        let mut open = self.0.open.borrow_mut();
        if let Some(outbox) = open.get(peer).and_then(Weak::upgrade)
            && !outbox.borrow().is_closed()
        {
            return outbox;
        }
        open.retain(|_, outbox| outbox.strong_count() > 0);
        let outbox = Rc::new(RefCell::new(Outbox::default()));
        open.insert(peer.clone(), Rc::downgrade(&outbox));
        let (peer, task_outbox, inner) = (peer.clone(), outbox.clone(), self.0.clone());
        let mut tasks = self.0.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(async move {
            // The caller opens its lane before this task first runs.
            let down = || (inner.down)(&peer);
            let limits = inner.limits.clone();
            link::run(peer.clone(), task_outbox, limits, inner.counters.clone(), down).await;
        });
        outbox
    }

    /// Whether nothing waits for any peer.
    pub fn is_idle(&self) -> bool {
        let idle = |o: &Weak<RefCell<Outbox>>| o.upgrade().is_none_or(|o| o.borrow().is_empty());
        self.0.open.borrow().values().all(idle)
    }

    /// Waits until all links whose lanes are closed have ended, at most `within`.
    pub async fn finish(&self, within: Duration) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        let all = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(within, all).await;
    }
}

/// A lane's queue to one peer. Dropping it closes the lane once it is empty.
pub struct LaneSlot {
    outbox: Rc<RefCell<Outbox>>,
    lane: u64,
}

impl LaneSlot {
    /// Lets `write` put a cell into the queue; nothing is queued if it gives `false` or an error.
    ///
    /// # Errors
    /// The queue is full, or what `write` says.
    pub fn push_with(
        &self,
        write: impl FnOnce(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        self.outbox.borrow_mut().push_with(self.lane, write)
    }
}

impl Drop for LaneSlot {
    fn drop(&mut self) {
        self.outbox.borrow_mut().close_lane(self.lane);
    }
}
