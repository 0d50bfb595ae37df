//! The owner's page of a run: while it is made, and afterwards.

use crate::args::PageArgs;
use crate::compare::find;
use crate::output;
use anyhow::Context;
use mixnn_page::Shown;
use mixnn_protocol::{NodeId, SystemRng};
use mixnn_serving::TokenFile;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Shows a run until it is interrupted.
pub async fn page(args: PageArgs) -> anyhow::Result<()> {
    let record = find(&args.run)?;
    let folder = record.parent().unwrap_or(Path::new(".")).to_owned();
    let _shown = show(args.address, &folder, record).await?;
    mixnn_node::shutdown_signal().await;
    Ok(())
}

/// Shows a record as long as what is returned lives, and says where.
pub async fn show(
    address: SocketAddr,
    folder: &Path,
    record: PathBuf,
) -> anyhow::Result<DropGuard> {
    let tokens = folder.join("page-tokens");
    let token = token(&tokens).with_context(|| tokens.display().to_string())?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("the page at {address}"))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        output::warning(format!(
            "the page at {address} is plain HTTP: who watches the network reads the token, and all that it shows"
        ));
    }
    let run = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let run = run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let shown = Shown { run, record, tokens: Arc::new(TokenFile::open(&tokens)?) };
    let stop = CancellationToken::new();
    tokio::spawn(mixnn_page::serve(listener, shown, stop.clone()));
    output::note(format!("the run's page: http://{address}/#token={token}"));
    Ok(stop.drop_guard())
}

/// The token in a file that holds one, made if it is not there: a page's address stays good.
fn token(path: &Path) -> std::io::Result<String> {
    if let Ok(text) = std::fs::read_to_string(path)
        && let Some(token) = text.split_whitespace().nth(1)
    {
        return Ok(token.to_owned());
    }
    let [one, two] = [NodeId::random(&mut SystemRng), NodeId::random(&mut SystemRng)];
    let token = format!("{one}{two}");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "owner {token}")?;
    Ok(token)
}
