//! The API server, as kubectl finds it.

use super::args::Where;
use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::time::Duration;

/// For the connection. Nobody waits longer at a prompt.
const CONNECT: Duration = Duration::from_secs(10);

/// A cluster and a namespace of it.
pub struct Place {
    /// The API.
    pub client: Client,
    /// The namespace that is meant where none is named.
    pub namespace: String,
    /// The API server's address, to be named in errors.
    pub server: String,
}

impl Place {
    /// By the arguments and the kubeconfig. Nothing is asked of the cluster yet.
    pub async fn find(args: &Where) -> anyhow::Result<Self> {
        let mut config = config(args).await?;
        config.connect_timeout = Some(CONNECT);
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self { client, namespace, server })
    }

    /// Says what was asked, and in words what an error of the API means.
    pub fn explain(&self, what: &str, error: kube::Error) -> anyhow::Error {
        match error {
            kube::Error::Api(status) if status.code == 401 => anyhow::anyhow!(
                "{what}: {} does not know you: log in again, or choose another --context",
                self.server
            ),
            kube::Error::Api(status) => anyhow::anyhow!("{what}: {}", status.message),
            other => {
                anyhow::Error::from(other).context(format!("{what}: no answer of {}", self.server))
            }
        }
    }
}

async fn config(args: &Where) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: args.context.clone(), ..Default::default() };
    if let Some(path) = &args.kubeconfig {
        let file = Kubeconfig::read_from(path).with_context(|| path.display().to_string())?;
        return Ok(Config::from_custom_kubeconfig(file, &options).await?);
    }
    if args.context.is_some() {
        return Ok(Config::from_kubeconfig(&options).await?);
    }
    Config::infer().await.context(
        "no cluster: set KUBECONFIG or give --kubeconfig FILE; without a cluster there is `mixnn run`",
    )
}
