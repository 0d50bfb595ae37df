//! From flags to a process that listens.

use crate::{NodeArgs, NodeError, hygiene, logging};
use std::net::{SocketAddr, TcpListener};

/// What is there once a process has started.
#[derive(Debug)]
pub struct Started {
    /// For cells and letters; non-blocking.
    pub listener: TcpListener,
    /// How others reach it.
    pub url: String,
    /// For metrics, if asked for; non-blocking.
    pub metrics: Option<TcpListener>,
}

/// Hygiene, logs, listeners: the first thing that a node does.
///
/// # Errors
/// What is wrong with the flags or the system.
pub fn start(args: &NodeArgs) -> Result<Started, NodeError> {
    hygiene::no_core_dumps()?;
    if args.die_with_parent {
        hygiene::die_with_parent()?;
    }
    logging::init(args.log_format);
    let (listener, bound) = bind(args.listen)?;
    let url = args.advertise.clone().unwrap_or_else(|| format!("http://{bound}"));
    let metrics = args.metrics_listen.map(bind).transpose()?.map(|(listener, _)| listener);
    Ok(Started { listener, url, metrics })
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let bound = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bound().map_err(|source| NodeError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::bind;

    #[test]
    fn a_taken_port_is_named() {
        let (_taken, address) = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let error = bind(address).expect_err("the port is taken").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("port 0"), "{error}");
    }
}
