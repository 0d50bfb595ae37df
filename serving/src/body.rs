//! Bodies that are paid for as they come: from one budget for the whole server.

use crate::InferError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// Bytes that may be held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    free: AtomicUsize,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { free: AtomicUsize::new(bytes) }
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |free: usize| free.checked_sub(bytes);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.free.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// What one request holds of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    held: AtomicUsize,
    most: usize,
    whole: AtomicBool,
}

impl Reservation {
    pub(crate) fn new(budget: Arc<Budget>, most: usize) -> Arc<Self> {
        let (held, whole) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { budget, held, most, whole })
    }

    /// Pays for more bytes of this request. `had` are those of the same body so far.
    pub(crate) fn take(&self, had: usize, bytes: usize) -> Result<(), InferError> {
        if had.saturating_add(bytes) > self.most {
            return Err(too_large(self.most));
        }
        if !self.budget.take(bytes) {
            return Err(InferError::busy("the server holds as many request bodies as it may"));
        }
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// The most bytes of a body.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Whether the body has come in whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.held.load(Ordering::Acquire));
    }
}

pub(crate) fn too_large(most: usize) -> InferError {
    InferError::TooLarge(format!("the body is larger than {most} bytes"))
}

/// A body whose bytes are paid for.
pub(crate) struct Metered {
    inner: Body,
    reservation: Arc<Reservation>,
    had: usize,
    grpc: bool,
}

impl Metered {
    /// `grpc` decides in which form errors reach the reader.
    pub(crate) fn wrap(inner: Body, reservation: Arc<Reservation>, grpc: bool) -> Body {
        Body::new(Self { inner, reservation, had: 0, grpc })
    }

    fn error(&self, error: InferError) -> axum::BoxError {
        if self.grpc { Box::new(tonic::Status::from(error)) } else { Box::new(error) }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            None => {
                self.reservation.whole.store(true, Ordering::Release);
                None
            }
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let paid = self.reservation.take(self.had, bytes);
                self.had += bytes;
                if self.inner.is_end_stream() {
                    self.reservation.whole.store(true, Ordering::Release);
                }
                Some(paid.map(|()| frame).map_err(|e| self.error(e)))
            }
            Some(Err(_)) => Some(Err(self
                .error(InferError::Invalid("the body ended before its announced length".into())))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_when_the_request_ends() {
        let budget = Arc::new(Budget::new(100));
        let one = Reservation::new(budget.clone(), 80);
        assert!(one.take(0, 80).is_ok());
        assert_eq!(one.take(80, 1).map_err(|e| e.reason()), Err("too_large"));
        let two = Reservation::new(budget.clone(), 80);
        assert_eq!(two.take(0, 21).map_err(|e| e.reason()), Err("unavailable"));
        assert!(two.take(0, 20).is_ok());
        drop(one);
        assert!(two.take(20, 60).is_ok());
        drop(two);
        assert_eq!(budget.free.load(Ordering::Acquire), 100);
    }
}
