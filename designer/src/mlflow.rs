//! Curves for an MLflow tracking server, by its REST API (<https://mlflow.org/docs/latest/api_reference/rest-api.html>).
//!
//! A thread of its own sends them, so that the training never waits for the server: what does not get through in
//! time is left out, and told. A run is known by a tag, `mixnn.run`: a designer that takes over goes on with it, from
//! the step behind the last that the server has.

use crate::curves::{Point, of_step, of_test};
use clap::Args;
use mixnn_events::{Event, Mode, Plan};
use reqwest::{Certificate, Client, Method, Url};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Events that may wait for the server.
const WAITING: usize = 8192;
/// Points in one request: the server takes a thousand at most.
const AT_ONCE: usize = 900;
/// From one request to the next.
const EVERY: Duration = Duration::from_secs(1);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a server that does not answer is asked again: first, and at last.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(30);
/// How often the last is tried, and how long the end of the run waits for it.
const TRIES: u32 = 3;
const LAST: Duration = Duration::from_secs(120);

/// Curves for MLflow, if they are wanted.
#[derive(Args, Clone, Debug)]
pub struct MlflowArgs {
    /// Send curves to this MLflow tracking server
    #[arg(long, value_name = "URL", requires = "mlflow_key")]
    mlflow: Option<Url>,
    /// Experiment of the MLflow server, made if it is not there
    #[arg(long, value_name = "NAME", default_value = "mixnn")]
    mlflow_experiment: String,
    /// The run's name there [default: the model's]
    #[arg(long, value_name = "NAME", requires = "mlflow")]
    mlflow_name: Option<String>,
    /// What tells the run from all others of the MLflow server: letters, digits, - and _
    #[arg(long, value_name = "KEY", value_parser = key)]
    mlflow_key: Option<String>,
}

fn key(text: &str) -> Result<String, String> {
    let plain =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if plain { Ok(text.to_owned()) } else { Err("it has letters, digits, - and _ only".into()) }
}

impl MlflowArgs {
    /// Begins to send curves of a run of that model, if they are wanted.
    ///
    /// # Errors
    /// As [`Mlflow::start`].
    pub fn start(&self, model: &str) -> std::io::Result<Option<Mlflow>> {
        let (Some(server), Some(key)) = (self.mlflow.clone(), self.mlflow_key.clone()) else {
            return Ok(None);
        };
        let experiment = self.mlflow_experiment.clone();
        let name = self.mlflow_name.clone().unwrap_or_else(|| model.to_owned());
        Mlflow::start(MlflowRun { server, experiment, name, key }).map(Some)
    }
}

/// Which run of which server.
#[derive(Clone, Debug)]
pub struct MlflowRun {
    /// The tracking server: `http://127.0.0.1:5000`. Who may write there is told by MLflow's own variables:
    /// `MLFLOW_TRACKING_TOKEN`, `_USERNAME` and `_PASSWORD`, `_SERVER_CERT_PATH`.
    pub server: Url,
    /// The experiment, made if it is not there.
    pub experiment: String,
    /// The run's name, for people.
    pub name: String,
    /// What tells it from all others, and is the same for all its designers.
    pub key: String,
}

/// The way to a server.
pub struct Mlflow {
    items: Option<SyncSender<Item>>,
    done: Receiver<()>,
    step: u64,
    left_out: u64,
}

enum Item {
    Plan(Box<Plan>),
    Points { step: u64, at: u64, points: Vec<Point> },
    End { status: &'static str, digest: Option<String> },
}

impl Mlflow {
    /// Begins to send. Whether the server is there is found out later.
    ///
    /// # Errors
    /// A variable of the environment names a certificate that is none, or no thread can be had.
    pub fn start(run: MlflowRun) -> std::io::Result<Self> {
        let client = client()?;
        let (items, waiting) = sync_channel(WAITING);
        let (tell, done) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            let sender = Sender { run, client, id: None, known: HashMap::new(), left: None };
            runtime.block_on(sender.work(&waiting));
            let _ = tell.send(());
        };
        std::thread::Builder::new().name("mlflow".into()).spawn(work)?;
        Ok(Self { items: Some(items), done, step: 0, left_out: 0 })
    }

    /// Takes an event in. The last one waits for a moment until all has been sent.
    pub fn tell(&mut self, event: &Event) {
        match event {
            Event::Plan(plan) => self.give(Item::Plan(Box::new(plan.clone()))),
            Event::Step(step) => {
                self.step = step.step;
                self.points(of_step(step));
            }
            Event::Tested(tested) => self.points(of_test(tested)),
            Event::Trained(outcome) | Event::Done(outcome) => {
                self.end("FINISHED", Some(outcome.digest.clone()));
            }
            Event::Failed(_) => self.end("FAILED", None),
            _ => {}
        }
    }

    fn points(&mut self, points: Vec<Point>) {
        let points = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
        self.give(Item::Points { step: self.step, at: now(), points });
    }

    fn give(&mut self, item: Item) {
        let Some(items) = &self.items else { return };
        if items.try_send(item).is_err() {
            self.left_out += 1;
        }
    }

    fn end(&mut self, status: &'static str, digest: Option<String>) {
        let Some(items) = self.items.take() else { return };
        let _ = items.try_send(Item::End { status, digest });
        drop(items);
        let in_time = self.done.recv_timeout(LAST).is_ok();
        if !in_time || self.left_out > 0 {
            tracing::warn!(left_out = self.left_out, in_time, "not all has reached MLflow");
        }
    }
}

fn client() -> std::io::Result<Client> {
    // Not by a proxy, nor to where a redirect leads: these are the owner's curves.
    let none = reqwest::redirect::Policy::none();
    let mut client = Client::builder().no_proxy().redirect(none).timeout(PATIENCE);
    if let Some(path) = std::env::var_os("MLFLOW_TRACKING_SERVER_CERT_PATH") {
        let pem = std::fs::read(path)?;
        let own = Certificate::from_pem_bundle(&pem).map_err(std::io::Error::other)?;
        client = client.tls_certs_only(own);
    }
    client.build().map_err(std::io::Error::other)
}

struct Sender {
    run: MlflowRun,
    client: Client,
    /// The run's id at the server, once it is known.
    id: Option<String>,
    /// The last step of each curve that the server has: one that is made again is not told again.
    known: HashMap<String, u64>,
    /// What is to be sent next, if the server did not take it.
    left: Option<Batch>,
}

/// What goes in one request.
#[derive(Default)]
struct Batch {
    plan: Option<Box<Plan>>,
    metrics: Vec<(&'static str, u64, Value)>,
    end: Option<(&'static str, Option<String>)>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.metrics.len() >= AT_ONCE || self.end.is_some()
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Plan(plan) => self.plan = Some(plan),
            Item::Points { step, at, points } => {
                let metric = |(key, value): Point| {
                    (key, step, json!({"key": key, "value": value, "timestamp": at, "step": step}))
                };
                self.metrics.extend(points.into_iter().map(metric));
            }
            Item::End { status, digest } => self.end = Some((status, digest)),
        }
    }
}

impl Sender {
    /// Until the end has been told, or nobody is left to tell it.
    async fn work(mut self, items: &Receiver<Item>) {
        let mut pause = SOON;
        let mut tries = TRIES;
        loop {
            let (batch, more) = match self.left.take() {
                Some(batch) => (batch, true),
                None => gather(items),
            };
            match self.send(&batch).await {
                Ok(()) if batch.end.is_some() || !more => return,
                Ok(()) => pause = SOON,
                Err(problem) => {
                    if batch.end.is_some() || !more {
                        tries -= 1;
                        pause = SOON;
                    }
                    if tries == 0 {
                        return;
                    }
                    let server = self.run.server.as_str();
                    tracing::warn!(
                        server,
                        problem,
                        "MLflow takes no curves now; the training goes on"
                    );
                    self.left = Some(batch);
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(LATE);
                }
            }
        }
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), String> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.find(batch.plan.as_deref()).await?,
        };
        self.id = Some(id.clone());
        for part in batch.metrics.chunks(AT_ONCE) {
            let mut new = Vec::with_capacity(part.len());
            let mut known = self.known.clone();
            for (key, step, metric) in part {
                if known.get(*key).is_none_or(|last| step > last) {
                    known.insert((*key).to_owned(), *step);
                    new.push(metric);
                }
            }
            if !new.is_empty() {
                self.post("runs/log-batch", &json!({"run_id": id, "metrics": new})).await?;
            }
            self.known = known;
        }
        let Some((status, digest)) = &batch.end else { return Ok(()) };
        if let Some(digest) = digest {
            let tag = json!({"run_id": id, "key": "mixnn.digest", "value": digest});
            self.post("runs/set-tag", &tag).await?;
        }
        let end = json!({"run_id": id, "status": status, "end_time": now()});
        self.post("runs/update", &end).await.map(drop)
    }

    /// The run that a designer before this one made, or a new one.
    async fn find(&mut self, plan: Option<&Plan>) -> Result<String, String> {
        let experiment = self.experiment().await?;
        let filter = format!("tags.`mixnn.run` = '{}'", self.run.key);
        let wanted = json!({"experiment_ids": [experiment], "filter": filter, "max_results": 1});
        let found = self.post("runs/search", &wanted).await?;
        if let Some(run) = found.pointer("/runs/0")
            && let Some(id) = run.pointer("/info/run_id").and_then(Value::as_str)
        {
            let metrics = run.pointer("/data/metrics").and_then(Value::as_array);
            let last = |m: &Value| Some((m["key"].as_str()?.to_owned(), whole(&m["step"])));
            self.known = metrics.into_iter().flatten().filter_map(last).collect();
            self.post("runs/update", &json!({"run_id": id, "status": "RUNNING"})).await?;
            return Ok(id.to_owned());
        }
        let tags = json!([{"key": "mixnn.run", "value": self.run.key}]);
        let run = json!({"experiment_id": experiment, "run_name": self.run.name, "start_time": now(), "tags": tags});
        let made = self.post("runs/create", &run).await?;
        let id = made.pointer("/run/info/run_id").and_then(Value::as_str);
        let id = id.ok_or("the server tells no run's id")?.to_owned();
        if let Some(plan) = plan {
            let params = json!({"run_id": id, "params": parameters(plan)});
            self.post("runs/log-batch", &params).await?;
        }
        Ok(id)
    }

    async fn experiment(&self) -> Result<String, String> {
        let name = &self.run.experiment;
        let query = [("experiment_name", name.as_str())];
        let found = self.ask(Method::GET, "experiments/get-by-name", |r| r.query(&query)).await;
        if let Ok(found) = found
            && let Some(id) = found.pointer("/experiment/experiment_id").and_then(Value::as_str)
        {
            return Ok(id.to_owned());
        }
        let made = self.post("experiments/create", &json!({"name": name})).await?;
        made["experiment_id"]
            .as_str()
            .map(str::to_owned)
            .ok_or("the server tells no experiment's id".into())
    }

    async fn post(&self, call: &str, body: &Value) -> Result<Value, String> {
        self.ask(Method::POST, call, |request| request.json(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        call: &str,
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Value, String> {
        let url =
            format!("{}/api/2.0/mlflow/{call}", self.run.server.as_str().trim_end_matches('/'));
        let request = authorized(with(self.client.request(method, url)));
        let answer = request.send().await.map_err(|e| e.without_url().to_string())?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let said = body["message"].as_str().unwrap_or("no reason was given");
        Err(format!("{call}: {status}: {said}"))
    }
}

/// As MLflow's own clients are told who they are.
fn authorized(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    let variable = |name: &str| std::env::var(format!("MLFLOW_TRACKING_{name}")).ok();
    match (variable("TOKEN"), variable("USERNAME")) {
        (Some(token), _) => request.bearer_auth(token),
        (None, Some(user)) => request.basic_auth(user, variable("PASSWORD")),
        (None, None) => request,
    }
}

/// What comes within a second; and whether more may come.
fn gather(items: &Receiver<Item>) -> (Batch, bool) {
    let mut batch = Batch::default();
    let until = Instant::now() + EVERY;
    loop {
        match items.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(item) => batch.take(item),
            Err(RecvTimeoutError::Timeout) => return (batch, true),
            Err(RecvTimeoutError::Disconnected) => return (batch, false),
        }
        if batch.is_full() {
            return (batch, true);
        }
    }
}

fn parameters(plan: &Plan) -> Vec<Value> {
    let mut all = vec![
        ("layers", plan.layers.len().to_string()),
        ("parameters", plan.parameters.to_string()),
        ("train_samples", plan.train_samples.to_string()),
        ("test_samples", plan.test_samples.to_string()),
        ("epochs", plan.epochs.to_string()),
        ("steps", plan.steps.to_string()),
        ("micro_batches", plan.micro_batches.to_string()),
    ];
    match &plan.mode {
        Mode::Distributed { relays, hops, suite, privacy, .. } => all.extend([
            ("relays", relays.to_string()),
            ("hops", hops.to_string()),
            ("suite", suite.clone()),
            ("cover", privacy.cover.clone()),
        ]),
        Mode::Reference => all.push(("mode", "one process".into())),
    }
    all.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// A number that MLflow writes as one, or as text.
fn whole(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
