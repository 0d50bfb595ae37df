//! `mixnn-operator`: the process.

use clap::{Parser, Subcommand};
use mixnn_operator::settings::LogFormat;
use mixnn_operator::{Chore, Operator, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).is_some_and(|first| Chore::has_subcommand(&first)) {
        return Chore::parse().run().await;
    }
    let settings = Settings::parse();
    log(settings.log_format);
    let config = kube::Config::infer().await?;
    let operator = Operator::connect(config, settings).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    operator.run(told).await;
    Ok(())
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("MIXNN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
