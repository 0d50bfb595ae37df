//! `mixnn-operator`: the process.

use clap::{Parser, Subcommand};
use mixnn_operator::settings::LogFormat;
use mixnn_operator::traces::Traces;
use mixnn_operator::{Chore, Operator, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).is_some_and(|first| Chore::has_subcommand(&first)) {
        return Chore::parse().run().await;
    }
    let settings = Settings::parse();
    let traces = Traces::from_env()?;
    log(settings.log_format, traces.as_ref());
    let config = kube::Config::infer().await?;
    let operator = Operator::connect(config, settings).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    };
    operator.run(told).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(())
}

fn log(format: LogFormat, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_env("MIXNN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let lines = lines.with_filter(filter);
    tracing_subscriber::registry().with(lines).with(traces.map(Traces::layer)).init();
}
