//! Flags of a server: the same for whoever starts one.

use crate::{Authenticator, Batching, Limits, Rate, ServerConfig, Tls, TokenFile};
use clap::Args;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where requests come in, how they are put together, and what they may cost.
#[derive(Args, Clone, Debug)]
pub struct FrontArgs {
    /// Where requests come in, REST and gRPC alike. Port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDR:PORT")]
    pub address: SocketAddr,
    /// The most samples of a batch, and so of a request
    #[arg(long, default_value_t = 32, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_batch: u32,
    /// Milliseconds that a request may wait for others to fill its batch. With 0 none waits, and
    /// batches still form while the model is busy
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub max_delay: u64,
    /// Batches on their way through the model at once
    #[arg(long, default_value_t = 4, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub in_flight: u32,
    /// Do not put requests together: an answer then has the bits of the same request anywhere else,
    /// whoever else asks
    #[arg(long)]
    pub no_merge: bool,
    /// Bearer tokens, one a line as NAME TOKEN; read anew when the file changes. Without it everybody
    /// is let in
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Certificate chain in PEM; read anew when it changes. Without it plain HTTP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The largest body of a request, in MiB; all that are held at once may be four times as large
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub max_body: u32,
    /// The most open connections; the one that is idle for longest makes room
    #[arg(long, default_value_t = 1024, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// The most requests a second of one client (by token, else by address); without bound if not given
    #[arg(long, value_name = "COUNT")]
    pub max_rate: Option<NonZeroU32>,
    /// Seconds from a request's beginning to its answer; one that takes longer is told to come again
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub request_timeout: u64,
    /// Seconds that requests under way are given at the end
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub drain: u64,
    /// Seconds before that in which the server answers but says that it is not ready, so that load
    /// balancers turn away
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub drain_notice: u64,
}

impl FrontArgs {
    /// How requests are put together.
    pub const fn batching(&self) -> Batching {
        Batching {
            max_size: self.max_batch as usize,
            max_delay: Duration::from_millis(self.max_delay),
            in_flight: self.in_flight as usize,
            merge: !self.no_merge,
            queue: 1024,
            bytes: ((self.max_body as usize) << 20).saturating_mul(4),
        }
    }

    fn limits(&self) -> Limits {
        let body = (self.max_body as usize) << 20;
        Limits {
            body,
            buffered: body.saturating_mul(4),
            connections: self.max_connections as usize,
            request: Duration::from_secs(self.request_timeout),
            rate: self.max_rate.map(|per_second| Rate { per_second, burst: per_second }),
            ..Limits::default()
        }
    }

    /// Opens everything that is named, before anything else is started.
    ///
    /// # Errors
    /// What cannot be opened, and why.
    pub fn open(&self, backend: Arc<dyn crate::Backend>) -> Result<ServerConfig, String> {
        let authenticator = match &self.tokens {
            Some(path) => {
                let tokens = TokenFile::open(path).map_err(|e| e.to_string())?;
                Some(Arc::new(tokens) as Arc<dyn Authenticator>)
            }
            None => None,
        };
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(Tls::open(cert, key).map_err(|e| e.to_string())?),
            _ => None,
        };
        let bound = TcpListener::bind(self.address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = bound.map_err(|e| format!("cannot listen on {}: {e}", self.address))?;
        Ok(ServerConfig {
            listener,
            tls,
            authenticator,
            batching: self.batching(),
            limits: self.limits(),
            backend,
            drain: Duration::from_secs(self.drain),
        })
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }

    /// The same as flags for another process, which need not share this one's working folder.
    ///
    /// # Errors
    /// The working folder is not known.
    pub fn flags(&self) -> std::io::Result<Vec<OsString>> {
        let mut flags: Vec<OsString> = Vec::new();
        let numbers: [(&str, String); 9] = [
            ("--address", self.address.to_string()),
            ("--max-batch", self.max_batch.to_string()),
            ("--max-delay", self.max_delay.to_string()),
            ("--in-flight", self.in_flight.to_string()),
            ("--max-body", self.max_body.to_string()),
            ("--max-connections", self.max_connections.to_string()),
            ("--request-timeout", self.request_timeout.to_string()),
            ("--drain", self.drain.to_string()),
            ("--drain-notice", self.drain_notice.to_string()),
        ];
        flags.extend(numbers.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]));
        if let Some(rate) = self.max_rate {
            flags.extend(["--max-rate".into(), rate.to_string().into()]);
        }
        if self.no_merge {
            flags.push("--no-merge".into());
        }
        let files: [(&str, Option<&Path>); 3] = [
            ("--tokens", self.tokens.as_deref()),
            ("--tls-cert", self.tls_cert.as_deref()),
            ("--tls-key", self.tls_key.as_deref()),
        ];
        for (flag, path) in files {
            if let Some(path) = path {
                flags.extend([flag.into(), std::path::absolute(path)?.into()]);
            }
        }
        Ok(flags)
    }
}
