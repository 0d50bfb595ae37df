//! NetworkPolicies that are enforced: what the pods of a model reach, and who reaches them. On the cluster of this
//! machine only, whose Cilium enforces them.

use crate::kube::{Place, apply, field, get, kubectl, run, until};
use crate::model::Model;
use crate::platform::namespace;
use crate::{PLATFORM, report};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Has no walls of its own, and is no member.
const STRANGERS: &str = "strangers";
/// Where clouds serve credentials of nodes; and somewhere in the internet (of RFC 5737). Both are this machine here.
const OUTSIDE: [&str; 2] = ["169.254.169.254", "203.0.113.7"];
const OUTSIDE_PORT: u16 = 4430;
/// How long an answer is waited for that shall not come.
const SILENCE: Duration = Duration::from_secs(5);

/// The walls around the pods of a model that trains.
pub fn hold(model: &Model) {
    let _outside = OUTSIDE.map(listen);
    let town = Town::look(model);
    town.strangers_see_the_world();
    town.layers_reach_relays_and_the_operator_alone();
    town.relays_alone_reach_layers();
    town.relays_reach_designers_and_the_operator();
    // Kubelets ask for these.
    for (namespace, name) in [(PLATFORM, "mixnn-operator"), ("kube-system", "coredns")] {
        let target = format!("deployment/{name}");
        kubectl(&["-n", namespace, "rollout", "status", &target, "--timeout=60s"]);
    }
    kubectl(&["delete", "namespace", STRANGERS, "--timeout=120s"]);
    report("walls around layer pods and relays", "hold, and probes pass");
}

/// An address of this machine, with somebody who listens.
fn listen(address: &str) -> TcpListener {
    run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"], "");
    TcpListener::bind((address, OUTSIDE_PORT)).unwrap()
}

/// Who there is.
struct Town {
    layers: Vec<Place>,
    relays: Vec<Place>,
    designer: Place,
    operator: Place,
    /// The registration service.
    service: String,
    dns: Place,
    stranger: Place,
    /// Nobody of MixNN: API server, kubelet, DNS, the metadata of a cloud, the internet.
    world: Vec<String>,
}

impl Town {
    fn look(model: &Model) -> Self {
        let one = |namespace: &str, selector: &str| {
            let pods = get(&["pods", "-n", namespace, "-l", selector]);
            Place::of(&pods["items"][0])
        };
        let dns = one("kube-system", "k8s-app=kube-dns");
        let service = |namespace: &str, name: &str| {
            field(&get(&["service", name, "-n", namespace]), "/spec/clusterIP").to_owned()
        };
        let servers = get(&["endpoints", "kubernetes", "-n", "default"]);
        let nodes = get(&["nodes"]);
        let mut world = vec![
            format!("{}/443", service("default", "kubernetes")),
            format!("{}/6443", field(&servers, "/subsets/0/addresses/0/ip")),
            format!("{}/53", service("kube-system", "kube-dns")),
            format!("{}/8053", dns.ip),
        ];
        for node in nodes["items"].as_array().unwrap() {
            world.push(format!("{}/10250", field(node, "/status/addresses/0/address")));
        }
        world.extend(OUTSIDE.map(|address| format!("{address}/{OUTSIDE_PORT}")));
        Self {
            layers: Place::all("mixnn.dev/pod=layer"),
            relays: Place::all("mixnn.dev/pod=relay"),
            designer: Place::of(&get(&["pod", &model.designer(), "-n", crate::OWNER])),
            operator: one(PLATFORM, "app.kubernetes.io/name=mixnn-operator"),
            service: format!("{}/8443", service(PLATFORM, "mixnn-operator")),
            dns,
            stranger: stranger(),
            world,
        }
    }

    /// So that it is the walls that stop others.
    fn strangers_see_the_world(&self) {
        all(&self.stranger, &self.world, "open");
    }

    fn layers_reach_relays_and_the_operator_alone(&self) {
        let [layer, other, ..] = &self.layers[..] else { panic!("there are five layers") };
        all(layer, &[cells(&self.relays[0]), self.service.clone()], "open");
        let mut forbidden = self.world.clone();
        forbidden.extend([
            cells(other),
            cells(&self.designer),
            format!("{}/9090", self.relays[0].ip),
            format!("{}/8080", self.operator.ip),
        ]);
        all(layer, &forbidden, "silent");
    }

    fn relays_alone_reach_layers(&self) {
        let layers: Vec<String> = self.layers.iter().map(cells).collect();
        all(&self.relays[0], &layers, "open");
        for from in [&self.designer, &self.operator, &self.stranger, &self.dns] {
            all(from, &layers, "silent");
        }
        // A stranger who says that it is a relay: its namespace is no member.
        let more =
            [cells(&self.relays[0]), cells(&self.designer), format!("{}/9090", self.relays[0].ip)];
        all(&self.stranger, &more, "silent");
        let address = SocketAddr::new(self.layers[0].ip.parse().unwrap(), 7000);
        TcpStream::connect_timeout(&address, SILENCE)
            .expect_err("a machine outside reaches a layer");
    }

    fn relays_reach_designers_and_the_operator(&self) {
        let relay = &self.relays[0];
        all(relay, &[cells(&self.designer), self.service.clone(), cells(&self.relays[1])], "open");
        all(relay, &self.world, "silent");
    }
}

/// A pod that does nothing, with a relay's label: it is put on afterwards, since none is made with it where no MixNNHost is.
fn stranger() -> Place {
    let mut namespace = namespace(STRANGERS, &json!({}));
    namespace["metadata"]["labels"] = json!({});
    apply(&namespace.to_string());
    let container =
        json!({"name": "pause", "image": "localhost/pause:1", "imagePullPolicy": "Never"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": STRANGERS},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}});
    until("an account for the stranger", || {
        crate::kube::try_run("kubectl", &["apply", "-f", "-"], &pod.to_string()).ok()
    });
    kubectl(&["-n", STRANGERS, "label", "pod", "stranger", "mixnn.dev/pod=relay"]);
    until("the stranger to run", || {
        let pod = get(&["pod", "stranger", "-n", STRANGERS]);
        (field(&pod, "/status/phase") == "Running").then(|| Place::of(&pod))
    })
}

/// A pod's port for cells and letters.
fn cells(pod: &Place) -> String {
    format!("{}/7000", pod.ip)
}

/// All of the targets are `open`, or all are `silent`, to a pod. That something is open is waited for: walls are moved
/// a moment after pods begin.
fn all(from: &Place, targets: &[String], how: &str) {
    let wrong = || {
        let mut seen = reach(from, targets);
        seen.retain(|_, found| found != how);
        seen
    };
    let who = format!("{}/{}", from.namespace, from.name);
    if how == "open" {
        until(&format!("{targets:?} to be open to {who}"), || wrong().is_empty().then_some(()));
    } else {
        assert_eq!(wrong(), BTreeMap::new(), "to {who} these are to be {how}");
    }
}

/// What each target is to a pod: `open`, `refused` or `silent`.
fn reach(from: &Place, targets: &[String]) -> BTreeMap<String, String> {
    let program = std::env::var("MIXNN_E2E_REACH").unwrap();
    let mut args = vec![&from.node[..], &from.namespace, &from.name];
    args.extend(targets.iter().map(String::as_str));
    let said = run(&program, &args, "");
    let seen: BTreeMap<_, _> = said
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(t, how)| (t.to_owned(), how.to_owned()))
        .collect();
    assert_eq!(seen.len(), targets.len(), "{said}");
    seen
}
