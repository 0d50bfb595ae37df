//! The streamed body of a link.

use crate::counters::Counters;
use crate::outbox::Outbox;
use bytes::Bytes;
use http_body::{Body, Frame};
use mixnn_protocol::sizes::CELL;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Gives a connection all that is ready each time it asks; ends when no lane is left.
pub(crate) struct CellBody {
    pub(crate) outbox: Rc<RefCell<Outbox>>,
    pub(crate) counters: Arc<Counters>,
}

impl Body for CellBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut outbox = self.outbox.borrow_mut();
        if let Some(chunk) = outbox.take() {
            self.counters.cells_out.inc_by((chunk.len() / CELL) as u64);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if outbox.is_closed() {
            return Poll::Ready(None);
        }
        outbox.wait(cx.waker());
        Poll::Pending
    }
}
