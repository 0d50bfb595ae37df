//! States on their way: a sealed one that goes out in parts, and one that comes in.

use mixnn_nn::NnError;
use mixnn_protocol::control::{PART, SealTo};
use mixnn_protocol::shard::{self, Binding};
use mixnn_protocol::{MessageHeader, PublicKey, SystemRng};
use zeroize::Zeroizing;

/// The largest state taken, in bytes: a mistake must not fill the memory.
const MAX_STATE: u64 = 64 << 30;
/// The largest buffer that an announcement alone may reserve; beyond it, memory follows what comes.
const RESERVE: u64 = 1 << 20;

/// What goes out, and what comes in.
#[derive(Default)]
pub(crate) struct Shelf {
    /// The newest state that was sealed, and after which step.
    sealed: Option<(u64, Vec<u8>)>,
    incoming: Option<Incoming>,
}

struct Incoming {
    step: u64,
    length: u64,
    next: u32,
    bytes: Zeroizing<Vec<u8>>,
}

impl Shelf {
    /// Seals a state and keeps it; gives its length in bytes.
    pub(crate) fn seal(
        &mut self,
        to: &SealTo,
        binding: &Binding,
        state: &[u8],
    ) -> Result<u64, NnError> {
        let refused = |e: &dyn std::fmt::Display| NnError::State(format!("sealing: {e}"));
        let key = PublicKey::from_bytes(to.suite, &to.public_key).map_err(|e| refused(&e))?;
        let sealed = shard::seal(&key, binding, state, &mut SystemRng).map_err(|e| refused(&e))?;
        let length = sealed.len() as u64;
        self.sealed = Some((binding.step, sealed));
        Ok(length)
    }

    /// A part of what was sealed.
    pub(crate) fn part(&self, step: u64, index: u32) -> Result<Vec<u8>, NnError> {
        let sealed = self.sealed.as_ref().filter(|(of, _)| *of == step).map(|(_, bytes)| bytes);
        let part = sealed.and_then(|bytes| bytes.chunks(PART).nth(index as usize));
        part.map(<[u8]>::to_vec)
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
