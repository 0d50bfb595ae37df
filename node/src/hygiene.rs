//! What keeps a process's memory its own, and ties its life to its parent's.

use crate::NodeError;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getppid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};

/// Turns off core dumps, and tracing by processes of the same user: memory holds secrets.
///
/// # Errors
/// The system refuses.
pub fn no_core_dumps() -> Result<(), NodeError> {
    let refused = |e: rustix::io::Errno| NodeError::Hygiene(e.into());
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(refused)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)
}

/// Asks the kernel to end this process when its parent ends, however that ends.
///
/// # Errors
/// The system refuses, or the parent has ended already.
pub fn die_with_parent() -> Result<(), NodeError> {
    let refused = |e: rustix::io::Errno| NodeError::Hygiene(e.into());
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(refused)?;
    // The parent may have ended before the call: then init has taken its place.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() == 1) {
        return Err(NodeError::Flag {
            flag: "--die-with-parent",
            problem: "the parent process has ended already".into(),
        });
    }
    Ok(())
}
