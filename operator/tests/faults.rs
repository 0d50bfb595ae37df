//! What goes wrong on a real API server: operators that die at any point, two at a time, an API server
//! that goes away, hosts that refuse, alter or withdraw.

#![allow(clippy::unwrap_used)]

mod common;

use common::mortal::Mortal;
use common::team::{PLATFORM, Running, namespace};
use common::{World, objects, until};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, Pod, ResourceQuota, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mixnn_crds::{MixNNHost, MixNNModel};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// The annotation by which the operator knows what it made.
const SEAL: &str = mixnn_operator::labels::SEAL;

/// Who runs where, but for names that chance gives.
async fn end_state(world: &World, hosts: &[String]) -> BTreeMap<(String, String), usize> {
    let mut state = BTreeMap::new();
    for pod in world.pods(hosts).await {
        let key = (pod.namespace().unwrap(), pod.labels()["mixnn.dev/pod"].clone());
        *state.entry(key).or_default() += 1;
    }
    state
}

#[tokio::test]
async fn an_operator_killed_after_any_write_comes_to_the_same_end() {
    let Some(world) = World::start().await else { return };
    let hosts = world.teams("kill", 2).await;
    let mut writes = 0;
    // Each round lets one write more through; the first round that needs no death is the last.
    loop {
        let name = format!("net-{writes}");
        world.create(&objects::model("kill", &name, 2, 2)).await;
        let mortal = Mortal::new(writes);
        let dead = mortal.dead();
        let first = world.operator_through(world.mortal_client(&mortal), &[]).await;
        let lived = tokio::select! {
            () = dead => false,
            _ = world.condition("kill", &name, "Scheduled", "True", "Scheduled") => true,
        };
        drop(first);
        let next = world.operator(&["--identity", "second"]).await;
        world.condition("kill", &name, "Scheduled", "True", "Scheduled").await;
        let pods = until("as many pods as wanted", || async {
            let pods = world.pods(&hosts).await;
            (pods.len() == 4).then_some(pods)
        })
        .await;
        let names: HashSet<_> = pods.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names.len(), 4, "no twins");
        let state = end_state(&world, &hosts).await;
        let layers = state.iter().filter(|((_, role), _)| role == "layer");
        assert!(
            layers.clone().count() == 2 && layers.map(|(_, n)| n).all(|n| *n == 1),
            "{state:?}"
        );
        world.models("kill").delete(&name, &DeleteParams::default()).await.unwrap();
        until("all is gone again", || async { world.pods(&hosts).await.is_empty().then_some(()) })
            .await;
        next.stop().await;
        if lived {
            break;
        }
        writes += if writes < 12 { 1 } else { 3 };
    }
    assert!(writes > 12, "only {writes} writes were tried");
    a_copied_seal_is_none(&world).await;
}

/// Pods stand whose operator died before it could say that it made them, and somebody has changed what shows them to be
/// its own: two have seals of others, one has one that was altered. The next operator takes none for its own.
async fn a_copied_seal_is_none(world: &World) {
    let hosts = world.teams("seal", 8).await;
    world.create(&objects::model("seal", "net", 2, 1)).await;
    let mortal = Mortal::before_it_says_so();
    let dead = mortal.dead();
    let first = world.operator_through(world.mortal_client(&mortal), &[]).await;
    tokio::time::timeout(common::PATIENCE, dead).await.expect("pods are made");
    drop(first);
    let pods = world.pods(&hosts).await;
    assert_eq!(pods.len(), 3);
    let seal = |pod: &Pod| pod.annotations()[SEAL].clone();
    let altered: String = seal(&pods[1]).chars().rev().collect();
    for (pod, seal) in pods.iter().zip([seal(&pods[1]), altered, seal(&pods[0])]) {
        let api: Api<Pod> = Api::namespaced(world.client.clone(), &pod.namespace().unwrap());
        let patch = Patch::Merge(json!({"metadata": {"annotations": {SEAL: seal}}}));
        api.patch(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }
    let next = world.operator(&["--identity", "second"]).await;
    world.condition("seal", "net", "Scheduled", "True", "Scheduled").await;
    let now = until("pods of its own", || async {
        let now = world.pods(&hosts).await;
        (now.len() == 3).then_some(now)
    })
    .await;
    let places = |pods: &[Pod]| pods.iter().map(ResourceExt::namespace).collect::<HashSet<_>>();
    assert!(places(&now).is_disjoint(&places(&pods)), "not where somebody changes pods");
    next.stop().await;
}

#[tokio::test]
async fn hosts_refuse_alter_and_withdraw() {
    let Some(world) = World::start().await else { return };
    let operator = world.operator(&[]).await;
    quota_limit_range_and_policy(&world).await;
    a_host_that_alters_pods(&world).await;
    a_grant_comes_and_goes(&world).await;
    the_longest_names(&world).await;
    one_bad_object_stops_nothing(&world).await;
    drop(operator);
}

/// Each is named in the owner's status, and a host beside it takes what it refused.
async fn quota_limit_range_and_policy(world: &World) {
    let hosts = world.teams("refused", 1).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), &hosts[0]);
    let quota = serde_json::from_value(
        json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}),
    )
    .unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    until("the quota counts", || async { quotas.get("none").await.ok()?.status?.hard }).await;
    world.create(&objects::model("refused", "net", 1, 1)).await;
    let model =
        world.condition("refused", "net", "HostsResolved", "False", "HostQuotaExceeded").await;
    let conditions = model.status.unwrap().conditions;
    let text = &conditions.iter().find(|c| c.type_ == "HostsResolved").unwrap().message;
    assert!(text.contains("exceeded quota"), "{text}");
    assert!(world.pods(&hosts).await.is_empty(), "no part of a gang stays");

    let strict = "refused-strict".to_owned();
    namespace(&world.client, &strict, &json!({})).await;
    let ranges: Api<LimitRange> = Api::namespaced(world.client.clone(), &strict);
    let range = serde_json::from_value(json!({"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "1Mi"}}]}})).unwrap();
    ranges.create(&PostParams::default(), &range).await.unwrap();
    world.grant(&strict, "refused", json!({})).await;
    world.condition("refused", "net", "HostsResolved", "False", "").await;

    // Pods must pass the strictest of the Pod Security Standards.
    let good = "refused-restricted".to_owned();
    namespace(&world.client, &good, &json!({"pod-security.kubernetes.io/enforce": "restricted"}))
        .await;
    world.grant(&good, "refused", json!({})).await;
    world.condition("refused", "net", "Scheduled", "True", "Scheduled").await;
    assert_eq!(world.pods(&[good]).await.len(), 2);
    let events =
        world.cluster.kubectl(&["events", "-n", "refused", "--for", "mixnnmodel/net"], "").1;
    assert!(events.contains("HostQuotaExceeded"), "{events}");
    world.models("refused").delete("net", &DeleteParams::default()).await.unwrap();
}

/// Something in a host namespace puts a container of its own into every pod.
async fn a_host_that_alters_pods(world: &World) {
    let hosts = world.teams("altered", 1).await;
    put_sidecars_into(world, &hosts[0]).await;
    world.create(&objects::model("altered", "net", 1, 1)).await;
    let model = world.condition("altered", "net", "Degraded", "True", "HostMutatesPods").await;
    let conditions = model.status.unwrap().conditions;
    let text = &conditions.iter().find(|c| c.type_ == "Degraded").unwrap().message;
    assert!(text.contains(&hosts[0]) && text.contains("containers"), "{text}");
    until("no altered pod stays", || async { world.pods(&hosts).await.is_empty().then_some(()) })
        .await;
    let honest = "altered-honest".to_owned();
    namespace(&world.client, &honest, &json!({})).await;
    world.grant(&honest, "altered", json!({})).await;
    world.condition("altered", "net", "Scheduled", "True", "Scheduled").await;
    assert_eq!(world.pods(&[honest]).await.len(), 2);
    world.models("altered").delete("net", &DeleteParams::default()).await.unwrap();
}

async fn put_sidecars_into(world: &World, namespace: &str) {
    let pods = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let sidecar = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'sidecar', image: 'example.org/sidecar'}]}}";
    let api = "admissionregistration.k8s.io/v1beta1";
    let policy = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "sidecar"}, "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": pods,
            },
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": sidecar}}],
        }},
        {"apiVersion": api, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "sidecar"},
            "spec": {"policyName": "sidecar"}},
    ]});
    let (ok, said) = world.cluster.kubectl(&["apply", "-f", "-"], &policy.to_string());
    assert!(ok, "{said}");
    let probe = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "example.org/x"}]}});
    until("pods get a sidecar", || async {
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let (ok, said) = world.cluster.kubectl(&args, &probe.to_string());
        (ok && said.contains("example.org/sidecar")).then_some(())
    })
    .await;
}

async fn a_grant_comes_and_goes(world: &World) {
    let hosts = world.teams("grants", 2).await;
    let api: Api<MixNNHost> = Api::namespaced(world.client.clone(), &hosts[0]);
    // It admits others now.
    let others = Patch::Merge(
        json!({"spec": {"allowedOwners": {"namespaceSelector": {"matchLabels": {"owner": "nobody"}}}}}),
    );
    api.patch("mixnn", &PatchParams::default(), &others).await.unwrap();
    world.create(&objects::model("grants", "net", 2, 1)).await;
    world.condition("grants", "net", "HostsResolved", "False", "NoFreshHost").await;
    // A label of the owner's namespace is what is looked at.
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let back = Patch::Merge(
        json!({"spec": {"allowedOwners": {"namespaceSelector": {"matchLabels": {"owner": "grants"}}}}}),
    );
    api.patch("mixnn", &PatchParams::default(), &back).await.unwrap();
    world.condition("grants", "net", "Scheduled", "True", "Scheduled").await;

    // Withdrawn while pods run: they end, and there is nowhere to go.
    api.delete("mixnn", &DeleteParams::background()).await.unwrap();
    until("its pods are ended", || async {
        world.pods(&hosts[..1]).await.is_empty().then_some(())
    })
    .await;
    world.condition("grants", "net", "Degraded", "True", "NoFreshHost").await;
    let fresh = "grants-fresh".to_owned();
    namespace(&world.client, &fresh, &json!({})).await;
    world.grant(&fresh, "grants", json!({})).await;
    world.condition("grants", "net", "Degraded", "False", "AsExpected").await;
    // A host namespace that goes away takes its pods, and no model hangs in it.
    namespaces.delete(&fresh, &DeleteParams::default()).await.unwrap();
    world.models("grants").delete("net", &DeleteParams::default()).await.unwrap();
    until("the namespace is gone", || async {
        namespaces.get_opt(&fresh).await.ok()?.is_none().then_some(())
    })
    .await;
    until("every pod is gone", || async { world.pods(&hosts).await.is_empty().then_some(()) })
        .await;
}

/// Namespaces of 63 characters, and a model of 43, with all that is made for it.
async fn the_longest_names(world: &World) {
    let (owner, host, name) = ("o".repeat(63), "h".repeat(63), "n".repeat(43));
    namespace(&world.client, &owner, &json!({"owner": "long"})).await;
    namespace(&world.client, &host, &json!({})).await;
    world.grant(&host, "long", json!({})).await;
    let model = objects::model_with(&owner, &name, 1, 1, served());
    world.create(&model).await;
    world.condition(&owner, &name, "Scheduled", "True", "Scheduled").await;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &owner);
    let designer = format!("{name}-designer-0");
    until("its designer", || async { pods.get_opt(&designer).await.ok()? }).await;
    let services: Api<Service> = Api::namespaced(world.client.clone(), &owner);
    until("its Service", || async { services.get_opt(&format!("{name}-serving")).await.ok()? })
        .await;
    world.models(&owner).delete(&name, &DeleteParams::default()).await.unwrap();
}

/// An object that this version of the operator cannot read, among good ones; and one that was good, and held the turn.
async fn one_bad_object_stops_nothing(world: &World) {
    let hosts = world.teams("bad", 2).await;
    // No node has so much: it waits for one, and others wait for it.
    let big = json!({"podClasses": {"standard": {"resources": {"limits": {"cpu": "500"}}}}});
    world.create(&objects::model_with("bad", "big", 1, 1, big)).await;
    world.condition("bad", "big", "Scheduled", "False", "Scheduling").await;
    // As an older or newer CRD would let it through.
    let loose = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true, "storage": true,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let (ok, said) = world.cluster.kubectl(
        &["patch", "crd", "mixnnmodels.mixnn.dev", "--type=merge", "-p", &loose.to_string()],
        "",
    );
    assert!(ok, "{said}");
    let bad = json!({"apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel",
        "metadata": {"name": "bad", "namespace": "bad"}, "spec": {"layers": "none"}});
    until("the bad one is taken", || async {
        world
            .cluster
            .kubectl(&["apply", "--validate=false", "-f", "-"], &bad.to_string())
            .0
            .then_some(())
    })
    .await;
    world.create(&objects::model("bad", "good", 1, 1)).await;
    world.condition("bad", "good", "Scheduled", "False", "Queued").await;
    let broken = json!({"spec": {"layers": "none"}}).to_string();
    let patch = ["patch", "mixnn", "big", "-n", "bad", "--type=merge", "-p", &broken];
    let (ok, said) = world.cluster.kubectl(&patch, "");
    assert!(ok, "{said}");
    world.condition("bad", "good", "Scheduled", "True", "Scheduled").await;
    until("only the good one has pods", || async {
        (world.pods(&hosts).await.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn operators_and_api_servers_come_and_go() {
    let Some(mut world) = World::start().await else { return };
    let first = world.operator(&[]).await;
    let second = world.operator(&["--identity", "second"]).await;
    let hosts = world.teams("away", 2).await;
    world.create(&objects::model_with("away", "net", 2, 2, served())).await;
    world.condition("away", "net", "Scheduled", "True", "Scheduled").await;
    let ports = until("what clients reach it by", || ports(&world)).await;
    let before: HashSet<_> = world.pods(&hosts).await.iter().map(ResourceExt::uid).collect();
    assert_eq!(before.len(), 4, "two operators, each pod once");

    // The leader dies without a word: the other takes over, and nothing is made anew.
    drop(first);
    world.create(&objects::model("away", "later", 1, 1)).await;
    world.condition("away", "later", "Scheduled", "True", "Scheduled").await;
    let after: HashSet<_> = world.pods(&hosts).await.iter().map(ResourceExt::uid).collect();
    assert!(after.is_superset(&before) && after.len() == 6, "{before:?} {after:?}");

    // The API server goes and comes: watches begin again, and what happened meanwhile is seen.
    world.cluster.kill("kube-apiserver");
    nobody_can_tell_who_calls(&second).await;
    // Nobody tells of this: what was seen last is older than all that the API server will remember.
    world.cluster.lose("/registry/services/specs/away/net-serving").await;
    world.cluster.lose("/registry/networkpolicies/away/net-serving").await;
    world.cluster.start_api();
    world.cluster.ready().await;
    until("what clients reach it by is there again", || async {
        let now = self::ports(&world).await?;
        (now[0] != ports[0] && now[1] != ports[1]).then_some(())
    })
    .await;
    world.create(&objects::model("away", "anew", 1, 1)).await;
    world.condition("away", "anew", "Scheduled", "True", "Scheduled").await;

    too_many_call_at_once(&world, &second).await;

    // etcd is silent for a while: requests time out, and what was half done is done.
    world.create(&objects::model("away", "slow", 1, 1)).await;
    world.cluster.pause("etcd", Duration::from_secs(8)).await;
    world.condition("away", "slow", "Scheduled", "True", "Scheduled").await;
    let now: HashSet<_> = world.pods(&hosts).await.iter().map(ResourceExt::uid).collect();
    assert!(now.is_superset(&after) && now.len() == 10, "each pod once: {after:?} {now:?}");

    the_api_server_takes_no_more(&world).await;
    let now: HashSet<_> = world.pods(&hosts).await.iter().map(ResourceExt::uid).collect();
    assert!(now.is_superset(&after) && now.len() == 12, "each pod once: {after:?} {now:?}");

    // Deleted while no operator is there.
    second.stop().await;
    world.models("away").delete("net", &DeleteParams::default()).await.unwrap();
    let orphan = orphan(&world, &hosts[0]).await;
    let third = world.operator(&["--identity", "third"]).await;
    until("its pods are ended, and what no record names", || async {
        let left: HashSet<_> = world.pods(&hosts).await.iter().map(ResourceExt::uid).collect();
        (left.is_disjoint(&before) && !left.contains(&Some(orphan.clone()))).then_some(())
    })
    .await;
    assert_eq!(world.pods(&hosts).await.len(), 8, "the other models' are left alone");
    drop(third);
}

fn served() -> serde_json::Value {
    let store = json!({"objectStore": {"url": "s3://bucket/net"}});
    json!({"serving": {"enabled": true}, "checkpoints": {"everySteps": 1, "store": store}})
}

/// Uids of the Service and the NetworkPolicy of `away/net`, if both are there.
async fn ports(world: &World) -> Option<[Option<String>; 2]> {
    let services: Api<Service> = Api::namespaced(world.client.clone(), "away");
    let policies: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), "away");
    let service = services.get_opt("net-serving").await.ok()??;
    let policy = policies.get_opt("net-serving").await.ok()??;
    Some([service.uid(), policy.uid()])
}

/// A client. The certificate is looked at by other tests.
fn caller() -> reqwest::Client {
    reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap()
}

/// What the registration service says to a caller of whom nothing is known yet: status, and when to ask again.
async fn call(http: reqwest::Client, operator: &Running, token: String) -> (u16, Option<String>) {
    let url = format!("https://127.0.0.1:{}/v1/head", operator.registration.port());
    let answer = http.get(url).bearer_auth(token).send().await.unwrap();
    let after = answer.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    (answer.status().as_u16(), after)
}

/// No API server: no word on a token, so it is neither good nor bad.
async fn nobody_can_tell_who_calls(operator: &Running) {
    let (status, after) = call(caller(), operator, "never-seen".into()).await;
    assert_eq!((status, after.as_deref()), (503, Some("1")));
}

/// An API server that does not answer: so many callers wait for it, and no more.
async fn too_many_call_at_once(world: &World, operator: &Running) {
    let http = caller();
    let calls = (0..600).map(|i| call(http.clone(), operator, format!("caller-{i}")));
    let mut calls: FuturesUnordered<_> = calls.collect();
    world.cluster.signal("kube-apiserver", "-STOP");
    // Whoever is asked about waits; the first answer is of one too many.
    let first = tokio::time::timeout(Duration::from_secs(20), calls.next()).await;
    world.cluster.signal("kube-apiserver", "-CONT");
    let mut answers: Vec<_> = first.into_iter().flatten().collect();
    answers.extend(calls.collect::<Vec<_>>().await);
    let of = |status| answers.iter().filter(|a| a.0 == status).count();
    // A question that the API server kept waiting for too long is none of the caller's fault.
    assert_eq!(of(401) + of(429) + of(503), 600, "{answers:?}");
    // 16 are asked about, 512 wait; whoever came when it answered again was heard.
    assert!((1..=600 - 528).contains(&of(429)), "{answers:?}");
    assert!(answers.iter().all(|(status, after)| *status == 401 || after.as_deref() == Some("1")));
}

/// An API server with priority and fairness that has no room for the operator: 429 to all that it asks.
async fn the_api_server_takes_no_more(world: &World) {
    let api = "flowcontrol.apiserver.k8s.io/v1";
    let jail = json!({"apiVersion": api, "kind": "PriorityLevelConfiguration", "metadata": {"name": "jail"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0,
            "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}}});
    let whom = json!({"kind": "ServiceAccount", "serviceAccount": {"name": "mixnn-operator", "namespace": PLATFORM}});
    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]});
    let flow = json!({"apiVersion": api, "kind": "FlowSchema", "metadata": {"name": "jail"}, "spec": {
        "priorityLevelConfiguration": {"name": "jail"}, "matchingPrecedence": 2,
        "rules": [{"subjects": [whom], "resourceRules": [all]}]}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [jail, flow]});
    let (ok, said) = world.cluster.kubectl(&["create", "-f", "-"], &list.to_string());
    assert!(ok, "{said}");
    // Its Lease is renewed all the time, and that, too, is refused.
    until("it is refused", || async { (refused_by_the_jail(world).await? > 0.0).then_some(()) })
        .await;
    world.create(&objects::model("away", "busy", 1, 1)).await;
    let before = refused_by_the_jail(world).await.unwrap();
    until("it is refused again and again", || async {
        (refused_by_the_jail(world).await? >= before + 4.0).then_some(())
    })
    .await;
    let (ok, said) = world.cluster.kubectl(&["delete", "flowschema", "jail"], "");
    assert!(ok, "{said}");
    world.condition("away", "busy", "Scheduled", "True", "Scheduled").await;
}

/// Requests that were answered with 429, as the API server counts them.
async fn refused_by_the_jail(world: &World) -> Option<f64> {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let text = world.client.request_text(request).await.ok()?;
    let ours = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total")
            && line.contains("\"jail\"")
    };
    let count = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    Some(text.lines().filter(ours).filter_map(count).sum())
}

/// A pod with our label, made by nobody that we know.
async fn orphan(world: &World, namespace: &str) -> String {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), namespace);
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "orphan", "labels": {"mixnn.dev/pod": "layer"}},
        "spec": {"containers": [{"name": "c", "image": "example.org/x"}], "serviceAccountName": "mixnn-pods"},
    }))
    .unwrap();
    api.create(&PostParams::default(), &pod).await.unwrap().uid().unwrap()
}

#[tokio::test]
async fn gangs_and_the_shared_pool() {
    let Some(world) = World::start().await else { return };
    let operator = world.operator(&["--shared-relays", "3"]).await;
    // Room for one model's three pods of 20 cores on two nodes of 64, not for two models'.
    let hosts = world.teams("gangs", 4).await;
    let big = json!({
        "podClasses": {"standard": {"resources": {"limits": {"cpu": "30"}}}},
        "placement": {"timeout": "10s", "maxLayersPerHost": 4},
    });
    for name in ["one", "two"] {
        world.create(&objects::model_with("gangs", name, 3, 1, big.clone())).await;
    }
    let done: HashSet<String> = HashSet::new();
    let first = until("one of them runs", || async { running(&world, &done).await }).await;
    let other = if first == "one" { "two" } else { "one" };
    world.condition("gangs", other, "Scheduled", "False", "Timeout").await;
    let with_node = |pods: Vec<Pod>| {
        pods.iter().filter(|p| p.spec.as_ref().unwrap().node_name.is_some()).count()
    };
    assert!(with_node(world.pods(&hosts).await) <= 4, "no half gang holds nodes");
    // The first is done; then the other fits.
    world.models("gangs").delete(&first, &DeleteParams::default()).await.unwrap();
    world.condition("gangs", other, "Scheduled", "True", "Scheduled").await;
    world.models("gangs").delete(other, &DeleteParams::default()).await.unwrap();
    shared_pool(&world).await;
    drop(operator);
}

async fn running(world: &World, done: &HashSet<String>) -> Option<String> {
    let models: Vec<MixNNModel> =
        world.models("gangs").list(&ListParams::default()).await.ok()?.items;
    let scheduled = |m: &&MixNNModel| {
        let conditions = m.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Scheduled" && c.status == "True")
    };
    models.iter().find(scheduled).map(ResourceExt::name_any).filter(|n| !done.contains(n))
}

async fn shared_pool(world: &World) {
    // Hosts that admit the platform's namespace host the pool.
    namespace(&world.client, "pool-host", &json!({})).await;
    let labels = Patch::Merge(json!({"metadata": {"labels": {"owner": "platform"}}}));
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.patch(PLATFORM, &PatchParams::default(), &labels).await.unwrap();
    world.grant("pool-host", "platform", json!({"roles": ["Relay"]})).await;
    let pool = ["pool-host".to_owned()];
    until("the pool's relays", || async { (world.pods(&pool).await.len() == 3).then_some(()) })
        .await;
    let hosts = world.teams("sharing", 1).await;
    let shared = json!({"relays": {"shared": true}});
    world.create(&objects::model_with("sharing", "net", 1, 3, shared)).await;
    world.condition("sharing", "net", "Scheduled", "True", "Scheduled").await;
    assert_eq!(world.pods(&hosts).await.len(), 1, "its layer, and no relay of its own");
    world.models("sharing").delete("net", &DeleteParams::default()).await.unwrap();
    until("its layer is gone", || async { world.pods(&hosts).await.is_empty().then_some(()) })
        .await;
    assert_eq!(world.pods(&pool).await.len(), 3, "the pool stays");
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), PLATFORM);
    assert!(maps.get_opt("run-shared-relays").await.unwrap().is_some());
}
