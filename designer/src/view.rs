//! The ring as its owner sees it: who runs which layer, and over which relays lanes go.

use crate::ring::{End, Lane};
use crate::session::Session;
use mixnn_events::{Node, Ring, Seat};
use mixnn_model::Layer;
use mixnn_protocol::{LaneRole, NodeId};

/// The ring of a session as it is now.
pub(crate) fn view(session: &Session<'_>) -> Ring {
    let mailbox = &session.mailbox;
    let mut on_lanes: Vec<NodeId> = mailbox.ring.relays().collect();
    on_lanes.sort_unstable();
    on_lanes.dedup();
    let index = |id: &NodeId| on_lanes.binary_search(id).unwrap_or(usize::MAX) as u32;
    let lanes = mailbox.ring.lanes.iter().enumerate();
    let lane = |(id, lane): (usize, &Lane)| mixnn_events::Lane {
        role: role(lane.role).to_owned(),
        from: layer_at(lane.from),
        to: layer_at(lane.to),
        relays: mailbox.ring.way(id as u32).iter().map(index).collect(),
    };
    let host = |id: &NodeId| {
        let relay = mailbox.pool.relays.iter().find(|relay| relay.reference.id == *id);
        relay.map(|relay| relay.place.host_domain.clone()).unwrap_or_default()
    };
    let layers = session.spec.model.layers().iter().enumerate();
    Ring {
        layers: layers.map(|(i, layer)| seat(session, i, layer)).collect(),
        relays: on_lanes.iter().map(|id| Node { id: id.to_string(), host: host(id) }).collect(),
        lanes: lanes.map(lane).collect(),
    }
}

fn seat(session: &Session<'_>, index: usize, layer: &Layer) -> Seat {
    let pod = session.mailbox.deal.seat(index).map(|seat| &seat.pod);
    Seat {
        name: layer.spec.name.clone(),
        ops: layer.spec.ops.iter().map(|op| op.name().to_owned()).collect(),
        input: layer.input.to_string(),
        output: layer.output.to_string(),
        parameters: layer.parameter_count() as u64,
        pod: Node {
            id: pod.map(|pod| pod.id.to_string()).unwrap_or_default(),
            host: pod.map(|pod| pod.place.host_domain.clone()).unwrap_or_default(),
        },
    }
}

const fn role(role: LaneRole) -> &'static str {
    match role {
        LaneRole::Forward => "forward",
        LaneRole::Backward => "backward",
        LaneRole::Command => "command",
        LaneRole::Report => "report",
    }
}

const fn layer_at(end: End) -> Option<u32> {
    match end {
        End::Designer => None,
        End::Layer(index) => Some(index as u32),
    }
}
