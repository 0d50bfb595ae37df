//! What the chart's hooks run: `mixnn-operator check` and `mixnn-operator uninstall`.

use crate::labels;
use crate::record::WorkloadRef;
use anyhow::{Context as _, bail};
use clap::{Args, Parser};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Config, ResourceExt};
use mixnn_crds::MixNNModel;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Models that a refusal names.
const NAMED: usize = 5;

/// A chore beside the operator's own work.
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub enum Chore {
    /// Asks a running operator whether it is ready and some replica leads.
    Check {
        /// Where health and metrics are served, as http://mixnn-operator.NAMESPACE.svc:8080.
        #[arg(long)]
        url: http::Uri,
    },
    /// Refuses while there are models, so that their pods are not left to nobody.
    Uninstall(UninstallArgs),
}

/// What `uninstall` is told.
#[derive(Args, Clone, Debug)]
pub struct UninstallArgs {
    /// The platform's namespace.
    #[arg(long)]
    namespace: String,
    /// Delete the models, and wait until the operator has ended their pods.
    #[arg(long)]
    force: bool,
    /// Seconds to wait for that.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

impl Chore {
    /// Does it.
    ///
    /// # Errors
    /// What is not as it should be, and what to do.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check { url } => check(url).await,
            Self::Uninstall(args) => uninstall(Client::try_default().await?, &args).await,
        }
    }
}

async fn check(url: http::Uri) -> anyhow::Result<()> {
    let client = Client::try_from(Config::new(url.clone()))?;
    let get = |path: &str| http::Request::get(path).body(Vec::new());
    client.request_text(get("/readyz")?).await.with_context(|| format!("{url} is not ready"))?;
    let figures = client.request_text(get("/metrics")?).await?;
    if !figures.contains("mixnn_operator_leader") {
        bail!("{url}/metrics does not say who leads: is it an operator of MixNN?");
    }
    Ok(())
}

async fn uninstall(client: Client, args: &UninstallArgs) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let all: Api<DeserializeGuard<MixNNModel>> = Api::all(client.clone());
    let models = all.list(&ListParams::default()).await?.items;
    if !args.force && !models.is_empty() {
        bail!(refusal(&models));
    }
    for model in &models {
        let namespace = model.namespace().unwrap_or_default();
        let api: Api<MixNNModel> = Api::namespaced(client.clone(), &namespace);
        match api.delete(&model.name_any(), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer?),
        }
    }
    // A run's record stays until its last pod has ended. The pool's goes with the operator.
    let records: Api<ConfigMap> = Api::namespaced(client, &args.namespace);
    let runs = format!("{}=run,{}!={}", labels::RECORD, labels::WORKLOAD, WorkloadRef::SHARED);
    let runs = ListParams::default().labels(&runs);
    loop {
        let left = records.list_metadata(&runs).await?.items.len();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "pods of {left} models have not ended after {} s; is the operator running?",
                args.timeout
            );
        }
        sleep(LOOK).await;
    }
}

fn refusal(models: &[DeserializeGuard<MixNNModel>]) -> String {
    let name = |m: &DeserializeGuard<MixNNModel>| {
        format!("{}/{}", m.namespace().unwrap_or_default(), m.name_any())
    };
    let names: Vec<_> = models.iter().take(NAMED).map(name).collect();
    let rest = if models.len() > NAMED { " and more" } else { "" };
    format!(
        "there are MixNNModels: {names}{rest}. Delete them first; or let helm uninstall delete them: helm rollback, \
         helm upgrade with uninstall.force=true, helm uninstall; or helm uninstall --no-hooks, which leaves their pods running",
        names = names.join(", ")
    )
}
