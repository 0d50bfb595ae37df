//! The lanes of a layer pod.

use mixnn_protocol::LaneRole;
use mixnn_protocol::letter::LaneEnd;
use mixnn_transport::LaneId;

/// A pod's ends of lanes: at most one of each role and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Lane {
    /// Activations come in.
    ForwardIn = 0,
    /// Activations go out.
    ForwardOut,
    /// Gradients come in.
    BackwardIn,
    /// Gradients go out.
    BackwardOut,
    /// Instructions come in.
    Command,
    /// Answers go out.
    Report,
}

impl Lane {
    const ALL: [Self; 6] = [
        Self::ForwardIn,
        Self::ForwardOut,
        Self::BackwardIn,
        Self::BackwardOut,
        Self::Command,
        Self::Report,
    ];

    /// The lane of an end that the owner gave, if pods have such an end.
    pub const fn of(end: &LaneEnd) -> Option<Self> {
        Some(match end {
            LaneEnd::Receive(end) => match end.role {
                LaneRole::Forward => Self::ForwardIn,
                LaneRole::Backward => Self::BackwardIn,
                LaneRole::Command => Self::Command,
                LaneRole::Report => return None,
            },
            LaneEnd::Send(end) => match end.role {
                LaneRole::Forward => Self::ForwardOut,
                LaneRole::Backward => Self::BackwardOut,
                LaneRole::Report => Self::Report,
                LaneRole::Command => return None,
            },
        })
    }

    /// The endpoint's name for it.
    pub const fn id(self) -> LaneId {
        self as LaneId
    }

    /// The lane that the endpoint names so.
    pub fn from_id(id: LaneId) -> Option<Self> {
        Self::ALL.get(id as usize).copied()
    }
}
