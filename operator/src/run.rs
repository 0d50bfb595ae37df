//! From settings to a running operator.

use crate::build::PodContext;
use crate::ca::Current;
use crate::context::Context;
use crate::metrics::Metrics;
use crate::model::{Guarded, Models, forget_applied};
use crate::record::WorkloadRef;
use crate::registration::{ClusterRegistry, PodTokens};
use crate::removed::Present;
use crate::requests::Counted;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::validate::workload;
use crate::{collect, health, host, labels, model, pool, watch};
use anyhow::Context as _;
use futures::StreamExt;
use k8s_controller::LeaderElection;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PartialObjectMeta;
use kube::client::ClientBuilder;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{PredicateConfig, WatchStreamExt};
use kube::{Api, Client, Resource, ResourceExt};
use mixnn_crds::MixNNHost;
use mixnn_directory::Patience;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

/// How soon after a change, and how often at most, it is said of hosts how much of them is used.
const SOON: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(5);

/// A running operator.
pub struct Operator {
    context: Arc<Context>,
    ready: Arc<AtomicBool>,
    tasks: Tasks,
    election: LeaderElection,
    registration: std::net::SocketAddr,
    health: std::net::SocketAddr,
}

impl Operator {
    /// Starts over a connection of its own, whose requests are counted.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn connect(config: kube::Config, settings: Settings) -> anyhow::Result<Self> {
        let metrics = Metrics::default();
        let client = ClientBuilder::try_from(config)?.with_layer(&Counted::new(&metrics)).build();
        Self::start_with(client, settings, metrics).await
    }

    /// Starts over this client.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn start(client: Client, settings: Settings) -> anyhow::Result<Self> {
        Self::start_with(client, settings, Metrics::default()).await
    }

    /// Keys, certificates, watches, services: everything that every replica does.
    async fn start_with(
        client: Client,
        settings: Settings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let secrets = Secrets::new(client.clone(), &settings.namespace);
        let key = secrets.key().await?;
        let issuer = secrets.issuer().await?;
        let life = SignedDuration::from_hours(24 * i64::from(settings.registration.ca_days));
        let now = Timestamp::now();
        let cas = secrets.authorities(now, life).await?;
        let names = certificate_names(&settings);
        let current = Current::new(cas.certify(names, now, life)?);
        let pods = PodContext {
            registry: settings.registration_url(),
            alias: settings
                .registration
                .registration_ip
                .map(|ip| (settings.registration_host(), ip)),
            ca: cas.bundle(),
            audience: settings.registration.audience.clone(),
            relay_metrics: settings.pods.metrics_readers.is_some(),
        };
        let context = Arc::new(Context::new(client, settings, metrics, key, pods));
        let ready = Arc::new(AtomicBool::new(false));

        let listen = context.settings.health_listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let health = listener.local_addr()?;
        let mut tasks = vec![tokio::spawn(health::serve(listener, context.clone(), ready.clone()))];
        tasks.extend(watch::start(&context).await);

        let listen = context.settings.registration.registration_listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let registration = listener.local_addr()?;
        let tls = tls(current.clone())?;
        let registry = ClusterRegistry::new(context.clone(), issuer.public_der()?);
        let service = mixnn_directory::Service::with_backend(
            PodTokens::new(context.clone()),
            issuer,
            registry,
        );
        tasks.push(tokio::spawn(mixnn_directory::serve(
            listener,
            Arc::new(tls),
            service,
            Patience::default(),
        )));
        tasks.push(tokio::spawn(rotate(context.clone(), secrets, current, life)));
        ready.store(true, Ordering::Relaxed);
        tracing::info!(%registration, %health, "started");
        let election = election(&context);
        Ok(Self { context, ready, tasks: Tasks(tasks), election, registration, health })
    }

    /// Where pods register.
    pub const fn registration_address(&self) -> std::net::SocketAddr {
        self.registration
    }

    /// Where health and metrics are served.
    pub const fn health_address(&self) -> std::net::SocketAddr {
        self.health
    }

    /// Leads whenever it is elected, until told to end; then hands over at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = lead_for_ever(&self.context, &self.election) => {}
            () = shutdown => tracing::info!("told to end"),
        }
        self.ready.store(false, Ordering::Relaxed);
        self.context.metrics.leader.set(0);
        self.election.release().await;
        drop(self.tasks);
    }
}

async fn lead_for_ever(context: &Arc<Context>, election: &LeaderElection) {
    loop {
        // Losing the Lease drops everything that leading does.
        if election.with_lease(lead(context.clone())).await.is_none() {
            context.metrics.leader.set(0);
            tracing::warn!("another replica leads now");
        }
    }
}

fn election(context: &Context) -> LeaderElection {
    let settings = &context.settings;
    let host =
        || std::env::var("HOSTNAME").unwrap_or_else(|_| format!("pid-{}", std::process::id()));
    let identity = settings.identity.clone().unwrap_or_else(host);
    LeaderElection::new(context.client.clone(), &settings.namespace, labels::OPERATOR, &identity)
        .with_lease_duration(settings.lease.lease_duration)
        .with_renew_deadline(settings.lease.lease_renew)
        .with_retry_period(settings.lease.lease_retry)
}

fn certificate_names(settings: &Settings) -> Vec<String> {
    let mut names = vec![settings.registration_host()];
    names.extend(settings.registration.registration_ip.map(|ip| ip.to_string()));
    names
}

fn tls(current: Arc<Current>) -> anyhow::Result<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(current))
}

/// Looks at the CA when something about it is due, and at least daily.
async fn rotate(
    context: Arc<Context>,
    secrets: Secrets,
    current: Arc<Current>,
    life: SignedDuration,
) {
    let day = Duration::from_secs(24 * 3600);
    let mut pause = Duration::from_secs(3600);
    loop {
        tokio::time::sleep(pause).await;
        let now = Timestamp::now();
        let names = certificate_names(&context.settings);
        let fresh = match secrets.authorities(now, life).await {
            Ok(cas) => cas.certify(names, now, life).map(|key| (cas, key)).map_err(Into::into),
            Err(error) => Err(error),
        };
        match fresh {
            Ok((cas, key)) => {
                current.set(key);
                context.pods.write().unwrap_or_else(std::sync::PoisonError::into_inner).ca =
                    cas.bundle();
                let next = cas.next(life).map_or(day, |at| at.duration_since(now).unsigned_abs());
                pause = next.clamp(Duration::from_secs(60), day);
            }
            Err(error) => {
                tracing::error!(%error, "the CA cannot be looked after");
                pause = Duration::from_secs(300);
            }
        }
    }
}

/// Ends its tasks with it.
struct Tasks(Vec<tokio::task::JoinHandle<()>>);

impl Tasks {
    /// Returns once one of them has ended.
    async fn ended(&mut self) {
        let (ended, at, _) = futures::future::select_all(&mut self.0).await;
        self.0.swap_remove(at);
        if let Err(error) = ended {
            tracing::error!(%error, "what only a leader does has ended");
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Everything that only the leader does.
async fn lead(context: Arc<Context>) {
    tracing::info!("leading");
    context.metrics.leader.set(1);
    // What was applied while this replica led before may have been removed since, with nobody watching here.
    context.applied.forget_all();
    let (send, work) = mpsc::unbounded_channel();
    context.listen(send);
    let pool = Arc::new(Notify::new());
    let models = models(context.clone(), work, pool.clone());
    let hosts = hosts(context.clone());
    let (controller, models) = models;
    let mut tasks = Tasks(Vec::new());
    let store = models.store.clone();
    tasks.0.push(tokio::spawn(collect::run(context.clone(), models)));
    tasks.0.push(tokio::spawn(pool::run(context.clone(), pool)));
    tasks.0.push(tokio::spawn(designers(context.clone(), store.clone())));
    tasks.0.push(tokio::spawn(restored::<Service>(context.clone(), store.clone())));
    tasks.0.push(tokio::spawn(restored::<NetworkPolicy>(context.clone(), store)));
    context.doubt_all();
    // Tasks of their own: in one with the Lease's renewal, whatever is always ready would be polled first, and a
    // busy operator would lose its Lease.
    let mut controllers = Tasks(vec![tokio::spawn(controller), tokio::spawn(hosts)]);
    controllers.ended().await;
    drop(tasks);
}

/// Changes with the object's spec, labels and identity, and not with its status.
#[expect(clippy::unnecessary_wraps, reason = "predicates may give nothing")]
fn spec_of<K: Resource>(object: &K) -> Option<u64> {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.labels).hash(&mut hasher);
    Some(hasher.finish())
}

type ModelStore = kube::runtime::reflector::Store<Guarded>;

fn models(
    context: Arc<Context>,
    work: mpsc::UnboundedReceiver<WorkloadRef>,
    pool: Arc<Notify>,
) -> (impl Future<Output = ()>, collect::Models) {
    let api: Api<Guarded> = Api::all(context.client.clone());
    let work = watch::stream_of(work).filter_map(move |workload: WorkloadRef| {
        let pool = pool.clone();
        async move {
            if workload.is_shared() {
                pool.notify_one();
                return None;
            }
            Some(ObjectRef::new(&workload.name).within(&workload.namespace))
        }
    });
    // A model that is deleted leaves the store, and its record is collected.
    let gone = context.clone();
    let listed = Arc::new(AtomicBool::new(false));
    let all = listed.clone();
    let (reader, writer) = kube::runtime::reflector::store();
    // Who wrote which field is half of what a model takes, and of no use here.
    let watched =
        watcher(api, watcher::Config::default()).modify(|model| model.managed_fields_mut().clear());
    let stream = kube::runtime::reflector(writer, watched)
        .default_backoff()
        .inspect(move |event| match event {
            Ok(watcher::Event::Delete(model)) => {
                let uid = model.uid().unwrap_or_default();
                gone.told.forget(&uid);
                gone.doubt(&uid);
            }
            Ok(watcher::Event::InitDone) => {
                all.store(true, Ordering::SeqCst);
                gone.doubt_all();
            }
            _ => {}
        })
        .touched_objects()
        .predicate_filter(spec_of, PredicateConfig::default());
    let concurrency = context.settings.concurrency;
    let run = Controller::for_stream(stream, reader.clone())
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(work)
        .run(model::reconcile, model::on_error, Arc::new(Models::new(context)))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconcile");
            }
        });
    (run, collect::Models { store: reader, listed })
}

async fn hosts(context: Arc<Context>) {
    let api: Api<DeserializeGuard<MixNNHost>> = Api::all(context.client.clone());
    let (reader, writer) = kube::runtime::reflector::store();
    let stream = kube::runtime::reflector(writer, watcher(api, watcher::Config::default()))
        .default_backoff()
        .touched_objects()
        .predicate_filter(spec_of, PredicateConfig::default());
    let used = (context.clone(), None::<Instant>);
    let used = futures::stream::unfold(used, |(context, last)| async move {
        context.hosts_changed.notified().await;
        // Use changes pod by pod: once for many is enough, and seldom while it goes on.
        let rest = last.map_or(Duration::ZERO, |last| SELDOM.saturating_sub(last.elapsed()));
        tokio::time::sleep(rest.max(SOON)).await;
        Some(((), (context, Some(Instant::now()))))
    });
    Controller::for_stream(stream, reader)
        .reconcile_all_on(used)
        .run(host::reconcile, host::on_error, context)
        .for_each(|_| async {})
        .await;
}

/// What belongs to designers is put right when somebody changes it.
async fn designers(context: Arc<Context>, models: ModelStore) {
    let api: Api<StatefulSet> = Api::all(context.client.clone());
    let config = watcher::Config::default().labels(labels::MODEL);
    let stream = watcher(api, config).default_backoff();
    futures::pin_mut!(stream);
    let mut present = Present::default();
    while let Some(event) = stream.next().await {
        let Ok(event) = event else { continue };
        for model in present.see(&event, model_key) {
            remake(&context, &models, &model);
        }
        // Its status may tell of a pod that is not ready any more.
        if let watcher::Event::Apply(set) | watcher::Event::InitApply(set) = event {
            // Noted although the models may not be listed yet: nobody says it again.
            if owner_of(&set).is_some_and(|uid| context.looks.seen(uid, &set))
                && let Some(model) = model_key(&set).and_then(|key| model_of(&models, &key))
            {
                context.wake(workload(&model));
            }
        }
    }
}

/// What clients reach models by is made again when somebody removes it.
async fn restored<K>(context: Arc<Context>, models: ModelStore)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(context.client.clone());
    let config = watcher::Config::default().labels(labels::MODEL);
    let stream = watcher(api, config).default_backoff();
    futures::pin_mut!(stream);
    let mut present = Present::default();
    while let Some(event) = stream.next().await {
        let Ok(event) = event else { continue };
        for model in present.see(&event, model_key) {
            remake(&context, &models, &model);
        }
    }
}

/// The uid of the model that an object belongs to.
fn owner_of(object: &impl ResourceExt) -> Option<&str> {
    let owner = object.owner_references().iter().find(|owner| owner.kind == "MixNNModel")?;
    Some(&owner.uid)
}

/// Namespace and name of the model that an object was made for.
fn model_key(object: &impl ResourceExt) -> Option<(String, String)> {
    Some((object.namespace()?, object.labels().get(labels::MODEL)?.clone()))
}

fn model_of(models: &ModelStore, key: &(String, String)) -> Option<mixnn_crds::MixNNModel> {
    models.get(&ObjectRef::new(&key.1).within(&key.0))?.0.clone().ok()
}

/// What was made for a model is made again, if the model is still there.
fn remake(context: &Context, models: &ModelStore, key: &(String, String)) {
    if let Some(model) = model_of(models, key) {
        forget_applied(context, &model);
    }
}
