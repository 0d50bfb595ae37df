//! The owner's page of a run: while it is made, and afterwards.

use crate::args::PageArgs;
use crate::compare::find;
use crate::predict::Served;
use crate::{cluster, output};
use anyhow::Context;
use futures_util::future::BoxFuture;
use mixnn_data::PictureSample;
use mixnn_page::{Bytes, Oracle, Shown, Verdict};
use mixnn_protocol::{NodeId, SystemRng};
use mixnn_serving::{InferError, TokenFile};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// In a run's folder: whose tokens its page takes.
const TOKENS: &str = "page-tokens";
/// In a run's folder: where its designer shows a page of its own, which answers what the run's page is asked.
const ADDRESS: &str = "designer-page";
/// For one answer of the designer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows a run until it is interrupted.
pub async fn page(args: PageArgs) -> anyhow::Result<()> {
    if let Some(model) = args.place.model(&args.run) {
        return cluster::page(&args.place, model, args.address).await;
    }
    let record = find(&args.run)?;
    let folder = record.parent().unwrap_or(Path::new(".")).to_owned();
    let oracle = match (args.serving, &args.file) {
        (Some(url), Some(file)) => {
            let dataset = mixnn_crds::parse_file(file)?.spec.training.dataset;
            let served = Served { url, trust: args.trust, dataset, names: Vec::new() };
            Some(Arc::new(served) as Arc<dyn Oracle>)
        }
        _ => None,
    };
    let _shown = show(args.address, &folder, record, oracle).await?;
    mixnn_node::shutdown_signal().await;
    Ok(())
}

/// Shows a record as long as what is returned lives, and says where.
pub async fn show(
    address: SocketAddr,
    folder: &Path,
    record: PathBuf,
    oracle: Option<Arc<dyn Oracle>>,
) -> anyhow::Result<DropGuard> {
    let tokens = folder.join(TOKENS);
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
    let shown = Shown {
        run,
        record,
        tokens: Arc::new(TokenFile::open(&tokens)?),
        oracle,
        checkpoints: None,
    };
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

/// Flags by which a designer shows a page of its own, for no browser: it outlives no designer, as the run's does.
pub fn designer_flags(folder: &Path) -> anyhow::Result<Vec<OsString>> {
    token(&folder.join(TOKENS)).with_context(|| folder.join(TOKENS).display().to_string())?;
    Ok(vec![
        "--page".into(),
        "127.0.0.1:0".into(),
        "--page-tokens".into(),
        folder.join(TOKENS).into(),
        "--page-address".into(),
        folder.join(ADDRESS).into(),
    ])
}

/// The designer of a run, whichever it is just now.
pub struct Designer {
    folder: PathBuf,
    http: reqwest::Client,
}

impl Designer {
    /// The one whose run is kept in this folder.
    pub fn of(folder: &Path) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Self { folder: folder.to_owned(), http })
    }

    async fn forward(&self, picture: Bytes) -> anyhow::Result<Result<Verdict, String>> {
        let address = std::fs::read_to_string(self.folder.join(ADDRESS))?;
        let url = format!("http://{address}/try");
        let asked =
            self.http.post(url).bearer_auth(token(&self.folder.join(TOKENS))?).body(picture);
        let answer = asked.send().await?;
        if answer.status().is_success() {
            return Ok(Ok(answer.json().await?));
        }
        let said: serde_json::Value = answer.json().await.unwrap_or_default();
        Ok(Err(said["error"].as_str().unwrap_or("the designer gives no reason").to_owned()))
    }
}

impl Oracle for Designer {
    fn ask(&self, picture: Bytes) -> BoxFuture<'_, Result<Verdict, InferError>> {
        Box::pin(async move {
            match self.forward(picture).await {
                Ok(Ok(verdict)) => Ok(verdict),
                Ok(Err(said)) => Err(unavailable(said)),
                Err(_) => Err(unavailable(
                    "the designer is not there: it starts, or the run is over".into(),
                )),
            }
        })
    }
}

impl Oracle for Served {
    fn ask(&self, picture: Bytes) -> BoxFuture<'_, Result<Verdict, InferError>> {
        let read = move |how: PictureSample| {
            how.decode(&picture).map_err(|problem| anyhow::anyhow!("the picture {problem}"))
        };
        Box::pin(async move { self.judge(read).await.map_err(|e| unavailable(format!("{e:#}"))) })
    }
}

fn unavailable(message: String) -> InferError {
    InferError::Unavailable { message, retry_after: Duration::from_secs(1) }
}
