#!/usr/bin/env bash
# Process 1 of the cluster's namespaces, started by up.sh: the control plane and the nodes.
set -euo pipefail
. "$(dirname "$0")/env.sh"
PATH=$("$root/scripts/kube-assets.sh" --nodes --path):$PATH:/usr/sbin:/sbin
export PATH KUBECONFIG=$state/admin.conf
bridge=mixnn0

start() { # NAME COMMAND...: in the background, with a log of its own
    local name=$1
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null &
}

network() {
    mount -t tmpfs tmpfs /run
    mkdir -p /run/netns
    ip link set lo up
    ip link add $bridge type bridge
    ip address add $gateway/24 dev $bridge
    ip link set $bridge up
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth,serverAuth\n' "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 2 -extfile "$1.ext" 2>/dev/null
}

user() { # NAME SUBJECT [ALTERNATIVE-NAMES]: a certificate, and NAME.conf with it
    certificate "$1" "$2" "${3:-DNS:$1}"
    local config=(kubectl config --kubeconfig="$state/$1.conf")
    {
        "${config[@]}" set-cluster mixnn --server=$api --certificate-authority=ca.crt --embed-certs
        "${config[@]}" set-credentials "$1" --client-certificate="$1.crt" --client-key="$1.key" --embed-certs
        "${config[@]}" set-context mixnn --cluster=mixnn --user="$1"
        "${config[@]}" use-context mixnn
    } >/dev/null
}

certificates() {
    mkdir -p "$state/pki"
    cd "$state/pki"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=mixnn-e2e 2>/dev/null
    openssl genrsa -out accounts.key 2048 2>/dev/null
    certificate apiserver /CN=kube-apiserver "IP:$gateway,IP:10.96.0.1,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
    certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client DNS:kubelet-client
    user admin /O=system:masters/CN=admin
    user controller-manager /CN=system:kube-controller-manager
    user scheduler /CN=system:kube-scheduler
    user proxy /CN=system:kube-proxy
    for node in $nodes; do user "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$(node_ip "$node")"; done
    cd /
}

control_plane() {
    local pki=$state/pki
    start etcd etcd --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380
    start apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$gateway" --advertise-address="$gateway" --secure-port=6443 \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
        --service-cluster-ip-range=$services --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$pki/accounts.key" --service-account-signing-key-file="$pki/accounts.key" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
        --kubelet-preferred-address-types=InternalIP
    await 60 "the API server" kubectl get --raw /readyz
    start controller-manager kube-controller-manager --kubeconfig="$state/controller-manager.conf" --leader-elect=false \
        --authentication-kubeconfig="$state/controller-manager.conf" --authorization-kubeconfig="$state/controller-manager.conf" \
        --use-service-account-credentials --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/accounts.key" \
        --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
        --allocate-node-cidrs=false --node-monitor-period=2s --node-monitor-grace-period=12s
    start scheduler kube-scheduler --kubeconfig="$state/scheduler.conf" --leader-elect=false
}

node() { # NAME: a process tree with namespaces of its own, and a wire to the bridge
    mkdir -p "$state/$1"
    unshare --mount --net --pid --uts --ipc --fork --mount-proc --propagation private \
        "$here/node.sh" "$1" >"$logs/$1.log" 2>&1 </dev/null &
    local outer=$!
    first_child() { pgrep -P $outer >"$state/$1/pid"; }
    await 10 "node $1" first_child "$1"
    local pid
    pid=$(cat "$state/$1/pid")
    ip link add "wire-$1" type veth peer name eth0 netns "$pid"
    ip link set "wire-$1" master $bridge
    ip link set "wire-$1" up
    ip route add "$(node_pods "$1")" via "$(node_ip "$1")"
}

# Volumes to claim. All nodes see the same disk, so a claim can follow its pod, as with network storage.
volumes() {
    kubectl apply -f - <<EOF
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
EOF
    for i in 1 2 3 4 5 6; do
        # The group that pods of MixNN have: the kubelet changes no owner of such a volume.
        install -d -m 2770 -g 65532 "$state/volumes/$i"
        kubectl apply -f - <<EOF
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$i}
spec:
  storageClassName: local
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: $state/volumes/$i, type: Directory}
EOF
    done
}

# Cilium's own CRDs, before its agents start.
crds() {
    local folder
    folder=$("$root/scripts/cilium.sh" --path)/crds
    kubectl apply --server-side -f "$folder/v2" -f "$folder/v2alpha1"
}

healthy() { # NODE: whether its agent is
    nsenter --target "$(cat "$state/$1/pid")" --net -- curl -sf -m 2 -H "brief: true" http://127.0.0.1:9879/healthz
}

ready() {
    for node in $nodes; do
        await 60 "node $node to register" kubectl get node "$node"
        kubectl patch node "$node" -p "{\"spec\":{\"podCIDR\":\"$(node_pods "$node")\",\"podCIDRs\":[\"$(node_pods "$node")\"]}}"
    done
    await 90 "the nodes" kubectl wait --for=condition=Ready node --all --timeout=1s
    # Tests reach ClusterIPs through the first node's rules.
    ip route add $services via "$(node_ip "${nodes%% *}")"
    kubectl apply -f "$here/coredns.yaml"
    volumes
    if [ "$full" = 1 ]; then
        for node in $nodes; do await 120 "Cilium on $node" healthy "$node"; done
    fi
    await 60 "DNS" kubectl -n kube-system rollout status deployment/coredns --timeout=1s
    touch "$state/ready"
}

network
certificates
control_plane
[ "$full" != 1 ] || crds
for node in $nodes; do node "$node"; done
ready
# Reaps what the nodes' ends leave, until it is killed.
while :; do sleep 1 & wait -n || true; done
