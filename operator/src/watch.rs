//! Watches that fill the world, on every replica: whoever leads next has seen everything already.

use crate::context::{Context, read_record};
use crate::labels;
use crate::world::{Kept, pod_view};
use futures::{Stream, StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use mixnn_crds::MixNNHost;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Watches everything until dropped. Returns once all that is not pods has been listed.
pub async fn start(context: &Arc<Context>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let mut listed = Vec::new();
    let mut go = |task: JoinHandle<()>, ready| {
        tasks.push(task);
        listed.push(ready);
    };
    let (task, ready) = spawn(|ready| namespaces(context.clone(), ready));
    go(task, ready);
    let (task, ready) = spawn(|ready| hosts(context.clone(), ready));
    go(task, ready);
    let (task, ready) = spawn(|ready| maps(context.clone(), ready));
    go(task, ready);
    for ready in listed {
        let _ = ready.await;
    }
    tasks.push(tokio::spawn(pods(context.clone())));
    tasks
}

fn spawn<F: Future<Output = ()> + Send + 'static>(
    watch: impl FnOnce(oneshot::Sender<()>) -> F,
) -> (JoinHandle<()>, oneshot::Receiver<()>) {
    let (send, ready) = oneshot::channel();
    (tokio::spawn(watch(send)), ready)
}

/// Gives every event of a watch to `handle`, for ever: a watch that breaks begins again.
async fn each<K>(
    what: &str,
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    mut handle: impl FnMut(Event<K>),
) {
    let stream = stream.default_backoff();
    pin_mut!(stream);
    loop {
        match stream.try_next().await {
            Ok(Some(event)) => handle(event),
            Ok(None) => return,
            Err(error) => tracing::warn!(what, %error, "a watch broke; it begins again"),
        }
    }
}

async fn namespaces(context: Arc<Context>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut listed: Option<HashSet<String>> = None;
    let mut known: HashSet<String> = HashSet::new();
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
    let stream = watcher(api, watcher::Config::default());
    each("namespaces", stream, |event| match event {
        Event::Init => listed = Some(HashSet::new()),
        Event::InitApply(n) | Event::Apply(n) => {
            let name = n.name_any();
            known.insert(name.clone());
            if context.world.space(&name, Some(&n.metadata)) && listed.is_none() {
                space_changed(&context, &name);
            }
            if let Some(listed) = &mut listed {
                listed.insert(name);
            }
        }
        Event::Delete(n) => {
            known.remove(&n.name_any());
            if context.world.space(&n.name_any(), None) {
                space_changed(&context, &n.name_any());
            }
        }
        Event::InitDone => {
            let now = listed.take().unwrap_or_default();
            for name in known.difference(&now) {
                context.world.space(name, None);
            }
            known = now;
            tell(&mut ready);
            everyone(&context);
        }
    })
    .await;
}

fn tell(ready: &mut Option<oneshot::Sender<()>>) {
    if let Some(ready) = ready.take() {
        let _ = ready.send(());
    }
}

/// A namespace matters to those that have pods there, to its own models, and if it is a host to those that look
/// for one.
fn space_changed(context: &Context, namespace: &str) {
    let (concerned, is_host) = context.world.concerned(namespace);
    concerned.into_iter().for_each(|workload| context.wake(workload));
    if is_host {
        context.wake_waiting();
        context.spaces_changed.notify_one();
    }
}

/// Who may host whom may have changed.
fn everyone(context: &Context) {
    context.records_wake();
    context.wake_waiting();
    context.spaces_changed.notify_one();
}

async fn hosts(context: Arc<Context>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut known: HashSet<String> = HashSet::new();
    let mut listed: HashSet<String> = HashSet::new();
    let api: Api<DeserializeGuard<MixNNHost>> = Api::all(context.client.clone());
    each("hosts", watcher(api, watcher::Config::default()), |event| {
        let (namespace, host) = match event {
            Event::Init => {
                listed.clear();
                return;
            }
            Event::InitApply(h) | Event::Apply(h) => {
                let namespace = h.namespace().unwrap_or_default();
                listed.insert(namespace.clone());
                known.insert(namespace.clone());
                // One that cannot be read grants nothing.
                (namespace, h.0.ok())
            }
            Event::Delete(h) => (h.namespace().unwrap_or_default(), None),
            Event::InitDone => {
                for gone in known.difference(&listed) {
                    context.world.host(gone, None);
                }
                known.clone_from(&listed);
                tell(&mut ready);
                everyone(&context);
                return;
            }
        };
        if context.world.host(&namespace, host) {
            context.applied.forget(&crate::host::applied_key(&namespace));
            context.world.workloads_on(&namespace).into_iter().for_each(|w| context.wake(w));
            context.wake_waiting();
            context.spaces_changed.notify_one();
        }
    })
    .await;
}

/// Records and registrations: the operator's own ConfigMaps.
async fn maps(context: Arc<Context>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    let mut listed: Option<HashSet<String>> = None;
    let config = watcher::Config::default().labels(labels::RECORD);
    each("records", watcher(context.maps(), config), |event| match event {
        Event::Init => listed = Some(HashSet::new()),
        Event::InitApply(map) | Event::Apply(map) => {
            if let Some(listed) = &mut listed {
                listed.insert(map.name_any());
            }
            map_seen(&context, &map);
        }
        Event::Delete(map) => map_gone(&context, &map.name_any()),
        Event::InitDone => {
            let listed = listed.take().unwrap_or_default();
            let known = context.world.map_names();
            known.iter().filter(|n| !listed.contains(*n)).for_each(|n| map_gone(&context, n));
            tell(&mut ready);
            context.doubt_all();
        }
    })
    .await;
}

fn map_seen(context: &Context, map: &ConfigMap) {
    if let Some(record) = read_record(map) {
        let workload = record.record.workload.clone();
        if context.keep(&workload.uid, Some(record)) {
            context.wake(workload);
        }
    } else if let Some(kept) = read_registration(map) {
        let workload = kept.workload.clone();
        context.world.registration(&kept.pod_uid.clone(), Some(kept));
        wake_uid(context, &workload);
    }
}

/// The registration in a ConfigMap, if it is one.
pub fn read_registration(map: &ConfigMap) -> Option<Kept> {
    serde_json::from_str(map.data.as_ref()?.get("registration.json")?).ok()
}

fn wake_uid(context: &Context, uid: &str) {
    let Some(record) = context.world.record_of(uid) else { return };
    context.wake(record.record.workload.clone());
    if record.record.workload.is_shared() {
        // Every model that uses the pool shows its size, and gets its directory.
        context.world.users_of_the_pool().into_iter().for_each(|user| context.wake(user));
    }
}

fn map_gone(context: &Context, name: &str) {
    if let Some(uid) = name.strip_prefix("run-") {
        context.keep(uid, None);
        context.orphans.notify_one();
    } else if let Some(uid) = name.strip_prefix("node-") {
        context.world.registration(uid, None);
    }
}

/// Pods of every namespace that hosts some. Namespaces come and go.
async fn pods(context: Arc<Context>) {
    let mut watches: HashMap<String, JoinHandle<()>> = HashMap::new();
    loop {
        let changed = context.spaces_changed.notified();
        let wanted = context.world.host_namespaces();
        watches.retain(|namespace, task| {
            let keep = wanted.contains(namespace) && !task.is_finished();
            if !keep {
                task.abort();
                context.world.forget_pods(namespace);
            }
            keep
        });
        for namespace in wanted {
            let start = || tokio::spawn(pods_of(context.clone(), namespace.clone()));
            watches.entry(namespace.clone()).or_insert_with(start);
        }
        changed.await;
    }
}

async fn pods_of(context: Arc<Context>, namespace: String) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let config = watcher::Config::default().labels(labels::POD);
    let mut listed = HashMap::new();
    each("pods", watcher(api, config), |event| match event {
        Event::Init => {
            listed.clear();
            context.world.pods_begin(&namespace);
        }
        Event::InitApply(pod) => {
            if is_hosted(&pod) {
                listed.insert(pod.name_any(), pod_view(&pod));
            }
        }
        Event::InitDone => {
            context.world.all_pods(&namespace, std::mem::take(&mut listed));
            context.world.workloads_on(&namespace).into_iter().for_each(|w| context.wake(w));
            context.wake_waiting();
            context.orphans.notify_one();
        }
        Event::Apply(pod) => {
            if is_hosted(&pod) {
                let name = pod.name_any();
                context.world.pod(&namespace, &name, Some(pod_view(&pod)));
                pod_changed(&context, &namespace, &name);
            }
        }
        Event::Delete(pod) => {
            let name = pod.name_any();
            context.world.pod(&namespace, &name, None);
            pod_changed(&context, &namespace, &name);
        }
    })
    .await;
}

/// A designer may run in a namespace that also hosts pods: it is no pod of a slot.
fn is_hosted(pod: &Pod) -> bool {
    pod.labels().get(labels::POD).is_some_and(|role| role != "designer")
}

fn pod_changed(context: &Context, namespace: &str, name: &str) {
    match context.world.workload_of(namespace, name) {
        Some(workload) => context.wake(workload),
        None => context.orphans.notify_one(),
    }
}

/// A stream of what is sent to a channel.
pub fn stream_of<T>(
    mut receiver: tokio::sync::mpsc::UnboundedReceiver<T>,
) -> impl Stream<Item = T> {
    futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).fuse()
}
