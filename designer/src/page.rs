//! The owner's page in this process: what it may show, and by which token.

use crate::import::{KeptArgs, runtime};
use crate::serve::{stored, weights_of};
use crate::{CheckpointSpec, DesignerError};
use clap::Args;
use futures_util::future::BoxFuture;
use mixnn_nn::OwnerSecret;
use mixnn_page::{Checkpoint, Checkpoints, OneToken, Oracle, Shown, owner_token};
use mixnn_serving::{Authenticator, TokenFile};
use mixnn_vault::{Keys, Listed, Vault, open_store};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The record of events, and the page that shows it.
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// File in which events are kept with their times, one JSON object a line; gone on with if it is
    /// there.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Show the record at this address in a browser, and answer the owner's questions
    #[arg(long, value_name = "ADDRESS", requires = "record")]
    pub page: Option<SocketAddr>,
    /// File of the tokens that the page asks for: lines of NAME TOKEN [default: the one that follows from the
    /// owner's secret]
    #[arg(long, value_name = "FILE", requires = "page")]
    pub page_tokens: Option<PathBuf>,
    /// File into which the page's address is written, as HOST:PORT
    #[arg(long, value_name = "FILE", requires = "page")]
    pub page_address: Option<PathBuf>,
}

/// What a page shows beside the record.
#[derive(Default)]
pub struct Beside {
    /// Who says what a picture shows.
    pub oracle: Option<Arc<dyn Oracle>>,
    /// Checkpoints and their keys.
    pub checkpoints: Option<CheckpointSpec>,
}

impl PageArgs {
    /// Shows the run of that name, if that is wanted.
    ///
    /// # Errors
    /// The address cannot be listened on, a file not read or written, or the store is none.
    pub fn show(
        &self,
        run: &str,
        owner: &OwnerSecret,
        beside: Beside,
    ) -> Result<(), DesignerError> {
        let (Some(address), Some(record)) = (self.page, &self.record) else { return Ok(()) };
        let failed = |e: &dyn std::fmt::Display| {
            DesignerError::Stopped(format!("the page at {address}: {e}"))
        };
        let tokens: Arc<dyn Authenticator> = match &self.page_tokens {
            Some(path) => Arc::new(TokenFile::open(path).map_err(|e| failed(&e))?),
            None => Arc::new(OneToken::new(&owner_token(owner.expose()))),
        };
        let vault = beside.checkpoints.map(|spec| Stored::open(&spec, owner)).transpose()?;
        let checkpoints = vault.map(|vault| Arc::new(vault) as _);
        let (run, record) = (run.to_owned(), record.clone());
        let shown = Shown { run, record, tokens, oracle: beside.oracle, checkpoints };
        let at = mixnn_page::start(address, shown).map_err(|e| failed(&e))?;
        if let Some(path) = &self.page_address {
            write_address(path, at).map_err(|e| failed(&e))?;
        }
        tracing::info!("the page is at http://{at}/");
        Ok(())
    }
}

/// What `mixnn-designer keep` takes.
#[derive(Args)]
pub struct KeepArgs {
    #[command(flatten)]
    kept: KeptArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// Shows what a store holds until the process is told to end.
///
/// # Errors
/// A key is missing, or the page cannot be shown.
pub fn keep(args: &KeepArgs) -> Result<(), DesignerError> {
    let owner = args.kept.owner()?;
    let checkpoints = Some(stored(&args.kept.checkpoints, &args.kept.checkpoint_key, true)?);
    args.page.show("checkpoints", &owner, Beside { oracle: None, checkpoints })?;
    runtime()?.block_on(mixnn_node::shutdown_signal());
    Ok(())
}

/// Whole or not at all: whoever waits for it reads no half of it.
fn write_address(path: &Path, address: SocketAddr) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, address.to_string())?;
    std::fs::rename(beside, path)
}

/// Checkpoints in a store.
struct Stored {
    vault: Vault,
    owner: OwnerSecret,
}

impl Stored {
    fn open(spec: &CheckpointSpec, owner: &OwnerSecret) -> Result<Self, DesignerError> {
        let keys: Arc<Keys> = spec.keys.clone();
        Ok(Self { vault: Vault::new(open_store(&spec.store)?, keys), owner: owner.clone() })
    }
}

impl Checkpoints for Stored {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Checkpoint>, String>> {
        Box::pin(async {
            let listed = self.vault.list().await.map_err(|e| e.to_string())?;
            Ok(listed.into_iter().map(told).collect())
        })
    }

    fn weights(&self, number: Option<u64>) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let which =
                || number.map_or_else(|| "no checkpoint".into(), |n| format!("no checkpoint {n}"));
            let found = self.vault.find(number).await.map_err(|e| e.to_string())?;
            let found = found.ok_or_else(|| format!("there is {} yet", which()))?;
            weights_of(&self.vault, &found, &self.owner).await.map_err(|e| e.to_string())
        })
    }
}

fn told(listed: Listed) -> Checkpoint {
    match listed.manifest {
        Ok(m) => Checkpoint {
            number: m.number,
            step: m.step,
            term: m.term,
            written: m.written,
            layers: m.layers.len() as u64,
            bytes: m.layers.iter().map(|l| l.bytes).sum(),
            error: None,
        },
        Err(error) => Checkpoint {
            number: listed.number,
            error: Some(error.to_string()),
            ..Checkpoint::default()
        },
    }
}
