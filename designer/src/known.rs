//! What the designer knows of a layer from its reports.

/// What is known of a layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Its command lanes work.
    pub(crate) hello: bool,
    /// Whether it has its assignment.
    pub(crate) readiness: Readiness,
    /// The attempt that it was halted for last, and the steps it can go back to.
    pub(crate) halted: Option<(u32, Vec<u64>)>,
    /// The attempts whose probes came in last: forward, backward.
    pub(crate) heard: [Option<u32>; 2],
    /// The attempt in which it went back.
    pub(crate) rolled_back: Option<u32>,
    /// The newest step that it has applied.
    pub(crate) applied: u64,
    /// Norms of the gradients of a step.
    pub(crate) norms: Option<(u64, Vec<f32>)>,
    /// Parts of a state that it has taken, and whether the state is taken up.
    pub(crate) took: u32,
    pub(crate) restored: bool,
    pub(crate) digest: Option<[u8; 32]>,
}

/// Whether a layer has its assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It has never said so.
    #[default]
    Unbuilt,
    /// It has said so, and then did not answer.
    Doubted,
    Ready,
}

impl Known {
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness == Readiness::Ready
    }

    /// It did not answer: whether it has its assignment is asked again.
    pub(crate) fn doubt(&mut self) {
        if self.is_ready() {
            self.readiness = Readiness::Doubted;
        }
    }

    pub(crate) fn is_halted(&self, attempt: u32) -> bool {
        self.halted.as_ref().is_some_and(|(of, _)| *of == attempt)
    }

    /// The steps after which it keeps its state.
    pub(crate) fn kept(&self) -> &[u64] {
        self.halted.as_ref().map_or(&[], |(_, kept)| kept)
    }
}
