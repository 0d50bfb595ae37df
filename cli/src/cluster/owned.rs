//! What only a model's designer has: its page, its checkpoints, its weights.

use super::args::Where;
use super::connect::Place;
use super::desk::Desk;
use crate::output;
use anyhow::{Context, bail};
use mixnn_page::Checkpoint;
use std::net::SocketAddr;
use std::path::Path;

impl Where {
    /// The model that is meant by what may be the folder of a run too: it is none that is there, and no path.
    pub fn model<'a>(&self, named: &'a Path) -> Option<&'a str> {
        let asked = self.namespace.is_some() || self.context.is_some() || self.kubeconfig.is_some();
        let name = named.to_str().filter(|name| !name.contains('/'))?;
        (asked || !named.exists()).then_some(name)
    }
}

/// Shows a designer's page on this machine until it is interrupted.
pub async fn page(args: &Where, model: &str, at: SocketAddr) -> anyhow::Result<()> {
    let desk = Desk::open_at(&Place::find(args).await?, model, at).await?;
    output::note(format!("the run's page: {}/#token={}", desk.url, desk.token));
    mixnn_node::shutdown_signal().await;
    Ok(())
}

/// The checkpoints of a model, oldest first.
pub async fn checkpoints(args: &Where, model: &str) -> anyhow::Result<Vec<Checkpoint>> {
    let desk = Desk::open_for_checkpoints(&Place::find(args).await?, model).await?;
    let listed = async { Ok(desk.get("/checkpoints").await?.json().await?) }.await;
    desk.close().await?;
    listed
}

/// Writes the weights of a checkpoint of a model, or of the newest.
pub async fn export(
    args: &Where,
    model: &str,
    number: Option<u64>,
    out: &mixnn_place::Place,
) -> anyhow::Result<()> {
    let mixnn_place::Place::Folder(path) = out else {
        bail!("--out must be a file of this machine: the weights come from the designer");
    };
    let desk = Desk::open_for_checkpoints(&Place::find(args).await?, model).await?;
    let which = number.map_or_else(String::new, |number| format!("?number={number}"));
    let saved = desk.save(&format!("/weights{which}"), path).await;
    desk.close().await?;
    saved.with_context(|| format!("the weights of {model}"))?;
    output::note(format!("the weights are in {out}"));
    Ok(())
}
