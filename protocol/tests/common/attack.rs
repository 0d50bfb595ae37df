//! What every relay of a lane knows together, and can do with it.

use super::forge;
use super::{LATER, Lane};
use mixnn_protocol::letter::HopRole;
use mixnn_protocol::{Cell, CellDrop, Epoch, MessageHeader, Secret, Suite};

/// What the corrupt relays of one lane know together.
pub struct Relays {
    /// The tag secret of the last link.
    pub link_tag: Secret,
    /// The receiver half's sealing secrets, the last relay first.
    pub seals: Vec<Secret>,
    pub epoch: Epoch,
    /// The next number on the last link.
    pub next: u64,
}

impl Relays {
    /// All from the letters that the relays opened: nothing of the ends' set-ups.
    pub fn of(lane: &Lane) -> Self {
        let last = &lane.hops[lane.hops.len() - 1].setup;
        let (HopRole::Crossing { out_tag } | HopRole::Receiver { out_tag, .. }) = &last.role else {
            panic!("the last relay seals")
        };
        let seals = lane.hops[lane.crossing()..].iter().rev().map(|h| h.secret.hop_seal());
        Self { link_tag: out_tag.clone(), seals: seals.collect(), epoch: last.epoch, next: 0 }
    }

    /// A cell on the last link, under the next number, that says whatever the attacker likes.
    pub fn cell(&mut self, mark: u8, sealed: &[u8]) -> Box<Cell> {
        let number = self.next;
        self.next += 1;
        forge::receiver_cell(&self.link_tag, &self.seals, self.epoch, number, mark, sealed)
    }
}

/// The sealed frames of one message as the crossing relay of `lane` sees them.
pub fn seen_at_crossing(lane: &mut Lane, header: MessageHeader, payload: &[u8]) -> Vec<Vec<u8>> {
    let crossing = lane.crossing();
    let mut cells = lane.cells(header, payload);
    for hop in &mut lane.hops[..crossing] {
        cells = cells.iter().flat_map(|c| hop.forward(lane.now, c).unwrap()).collect();
    }
    let hop = &mut lane.hops[crossing];
    let mut frames = Vec::new();
    for cell in cells {
        let ((), number) = hop.tags.look_up(cell.first_chunk().unwrap()).unwrap();
        hop.tags.spend((), number);
        frames.push(forge::crossing_opens(&hop.secret, lane.keys.sending.epoch, number, &cell));
    }
    frames.into_iter().map(Option::unwrap).collect()
}

/// A lane between honest ends, and what its relays know.
pub fn attacked(hops: usize) -> (Lane, Relays) {
    let lane = Lane::new(hops, Suite::X25519, 64);
    let relays = Relays::of(&lane);
    (lane, relays)
}

pub fn inject(lane: &mut Lane, cell: &Cell) -> Result<(), CellDrop> {
    let result = lane.inbox.cell(lane.now, cell);
    lane.inbox.release(lane.now + LATER);
    result
}
