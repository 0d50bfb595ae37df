//! Traces, over OTLP, if the environment names whom to send them to; by the variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter>).
//!
//! A span is at level `debug` in this workspace's crates. It says which model and how it came out, and names no pod,
//! no host, no key and no token: whoever reads traces learns of models what the log says, and not where they run.

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How long one request to the collector may take, and how long the last ones may hold up an end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends traces until it is finished.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// By the environment: nothing unless `OTEL_EXPORTER_OTLP_ENDPOINT`, or that of traces, is set.
    ///
    /// # Errors
    /// What is set cannot be done.
    pub fn from_env() -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = endpoint(|name| std::env::var(name).ok())? else { return Ok(None) };
        // The TLS of the operator's own client, with the roots of the system.
        let connector =
            kube::client::ConfigExt::rustls_https_connector(&kube::Config::new(endpoint))?;
        let client = HyperClient::new(connector, PATIENCE, None);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(OnRuntime { client, runtime: Handle::current() })
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self(provider)))
    }

    /// What takes spans of this workspace's crates, and none of others.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.0.tracer("mixnn-operator");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(filter_fn(|m| m.is_span() && m.target().starts_with("mixnn_")))
    }

    /// Sends what is left.
    pub async fn finish(self) {
        // Elsewhere: the requests run on this thread.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Whom to send traces to, if anybody.
fn endpoint(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<http::Uri>> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if disabled || set("OTEL_TRACES_EXPORTER").is_some_and(|v| v == "none") {
        return Ok(None);
    }
    let names = [OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT];
    let Some((name, url)) = names.into_iter().find_map(|name| Some((name, set(name)?))) else {
        return Ok(None);
    };
    for name in [OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL] {
        if let Some(other) = set(name).filter(|protocol| protocol != "http/protobuf") {
            bail!(
                "{name} is {other}: this operator speaks http/protobuf alone, at port 4318 of most collectors"
            );
        }
    }
    let parsed: http::Uri = url.parse().with_context(|| format!("{name} is {url}"))?;
    match parsed.scheme_str() {
        Some("http" | "https") => Ok(Some(parsed)),
        _ => bail!("{name} is {url}: write it as http://collector.observability:4318"),
    }
}

/// Who sends. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say goes before.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", "mixnn-operator"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let said = Resource::builder().build();
    let unsaid = |kv: &KeyValue| {
        let value = said.get(&kv.key).map(|value| value.to_string());
        value.is_none_or(|value| value.starts_with("unknown_service"))
    };
    let own: Vec<_> = own.into_iter().filter(unsaid).collect();
    Resource::builder().with_attributes(own).build()
}

/// A client whose requests run on this runtime, whoever waits for them: the exporter has a thread of its own.
#[derive(Debug)]
struct OnRuntime<C> {
    client: C,
    runtime: Handle,
}

#[async_trait]
impl<C: HttpClient + Clone + 'static> HttpClient for OnRuntime<C> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::endpoint;

    fn with(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let get = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        endpoint(get).map(|uri| uri.map(|uri| uri.to_string())).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn traces_go_where_the_environment_says_and_nowhere_else() {
        const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (one, other) = ("http://collector:4318", "https://traces:4318/v1/traces");
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&[(ALL, "")]), Ok(None));
        assert_eq!(with(&[(ALL, one)]), Ok(Some(format!("{one}/"))));
        let both = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", other), (ALL, one)];
        assert_eq!(with(&both), Ok(Some(other.to_owned())));
        assert_eq!(with(&[(ALL, one), ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(with(&[(ALL, one), ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let grpc = with(&[(ALL, one), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(grpc.unwrap_err().contains("http/protobuf"));
        assert!(with(&[(ALL, "collector:4318")]).unwrap_err().contains("http://"));
        assert!(with(&[(ALL, "a b")]).unwrap_err().contains("a b"));
    }
}
