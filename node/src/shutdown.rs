//! When to end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
pub async fn shutdown_signal() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be caught: this process ends without finishing its work");
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}

/// Ends the process as soon as it is told to. The first process of a container has no other way to
/// end in time: the kernel ignores signals for it that it does not catch.
///
/// # Errors
/// No thread can be started.
pub fn end_when_told() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wait = move || {
        runtime.block_on(shutdown_signal());
        tracing::info!("told to end");
        // As a shell reports SIGTERM.
        std::process::exit(143);
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
