//! States on their way: one that goes out sealed, part by part, and one that comes in.

use mixnn_nn::{Export, NnError};
use mixnn_protocol::control::{PART, SealTo};
use mixnn_protocol::shard::{Binding, Sealer};
use mixnn_protocol::{MessageHeader, PublicKey, SystemRng};
use zeroize::Zeroizing;

/// The largest state taken, in bytes: a mistake must not fill the memory.
const MAX_STATE: u64 = 64 << 30;
/// The largest buffer that an announcement alone may reserve; beyond it, memory follows what comes.
const RESERVE: u64 = 1 << 20;

/// What goes out, and what comes in.
#[derive(Default)]
pub(crate) struct Shelf {
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

/// The newest state that is to be sealed.
struct Outgoing {
    step: u64,
    state: Export,
    sealer: Sealer,
}

struct Incoming {
    step: u64,
    length: u64,
    next: u32,
    bytes: Zeroizing<Vec<u8>>,
}

impl Shelf {
    /// Keeps a state to be sealed part by part; gives the sealed length in bytes.
    pub(crate) fn seal(
        &mut self,
        to: &SealTo,
        binding: &Binding,
        state: Export,
    ) -> Result<u64, NnError> {
        let refused = |e: &dyn std::fmt::Display| NnError::State(format!("sealing: {e}"));
        let key = PublicKey::from_bytes(to.suite, &to.public_key).map_err(|e| refused(&e))?;
        let sealer = Sealer::new(&key, binding, state.length(), &mut SystemRng);
        let sealer = sealer.map_err(|e| refused(&e))?;
        let length = sealer.length() as u64;
        self.outgoing = Some(Outgoing { step: binding.step, state, sealer });
        Ok(length)
    }

    /// A part of the sealed state.
    pub(crate) fn part(&self, step: u64, index: u32) -> Result<Vec<u8>, NnError> {
        let outgoing = self.outgoing.as_ref().filter(|o| o.step == step);
        let part = outgoing.map(|o| o.sealer.part(index, |at, out| o.state.read(at, out)));
        part.transpose()?
            .flatten()
            .ok_or_else(|| NnError::Order(format!("part {index} of step {step} was not sealed")))
    }

    /// A state of `length` bytes is going to come.
    pub(crate) fn expect(&mut self, step: u64, length: u64) -> Result<(), NnError> {
        if !(1..=MAX_STATE).contains(&length) {
            return Err(NnError::State(format!("a state of {length} bytes")));
        }
        // Announced again while it comes: the designer did not hear the answer.
        if self.incoming.as_ref().is_none_or(|i| (i.step, i.length) != (step, length)) {
            let bytes = Zeroizing::new(Vec::with_capacity(length.min(RESERVE) as usize));
            self.incoming = Some(Incoming { step, length, next: 0, bytes });
        }
        Ok(())
    }

    /// Takes the next part; gives the whole state once it is there. A part that came before is passed
    /// over.
    pub(crate) fn take(
        &mut self,
        header: MessageHeader,
        bytes: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, NnError> {
        let (step, index) = (header.step, header.micro_batch);
        let out_of_place = || NnError::Order(format!("part {index} of step {step} out of place"));
        let Some(incoming) = self.incoming.as_mut().filter(|i| i.step == step) else {
            return Err(out_of_place());
        };
        if index < incoming.next {
            return Ok(None);
        }
        let left = incoming.length - incoming.bytes.len() as u64;
        if index != incoming.next || bytes.len() as u64 != left.min(PART as u64) {
            return Err(out_of_place());
        }
        incoming.bytes.extend_from_slice(bytes);
        incoming.next += 1;
        let whole = incoming.bytes.len() as u64 == incoming.length;
        Ok(if whole { self.incoming.take().map(|i| i.bytes) } else { None })
    }
}
