#!/usr/bin/env bash
# Process 1 of one node, started by machine.sh in namespaces of its own: containerd, kubelet, kube-proxy.
#
# Killing it is how a node fails: pods, mounts and rules end with it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
name=$1
ip=$(node_ip "$name")
own=$state/$name
[ "$full" != 1 ] || cilium=$("$root/scripts/cilium.sh" --path)
socket=$own/containerd.sock

start() { # NAME COMMAND...
    local what=$1
    shift
    "$@" >"$logs/$name-$what.log" 2>&1 </dev/null &
}

network() {
    hostname "$name"
    await 10 "a wire" ip link show eth0
    ip link set lo up
    ip address add "$ip/24" dev eth0
    ip link set eth0 up
    ip route add default via $gateway
    for other in $nodes; do
        [ "$other" = "$name" ] || ip route add "$(node_pods "$other")" via "$(node_ip "$other")"
    done
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# Node-wide folders that programs expect at fixed places, each node its own.
folders() {
    mkdir -p "$own"/{varlog,cni/net.d,cnilib,kubelet,containerd} /var/lib/cni
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/netns /run/lock
    mount --bind "$own/varlog" /var/log
    mount --bind "$own/cnilib" /var/lib/cni
    # Nothing outside can be resolved here, and CoreDNS is not to try.
    echo "nameserver $dns" >"$own/resolv.conf"
    mount --bind "$own/resolv.conf" /etc/resolv.conf
}

# How pods get their networks: by a plain wire, or by Cilium, which puts walls at its ends.
plugins() {
    mkdir -p "$own/cni/bin"
    ln -s /usr/lib/cni/* "$own/cni/bin/"
    if [ "$full" = 1 ]; then
        ln -s "$cilium/cilium-cni" "$own/cni/bin/"
        echo '{"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": "cilium-cni"}]}' >"$own/cni/net.d/10-mixnn.conflist"
        return
    fi
    cat >"$own/cni/net.d/10-mixnn.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "mixnn", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/ipam",
    "ranges": [[{"subnet": "$(node_pods "$name")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

# Cilium's agent: no overlay, no masquerade, and kube-proxy stays; all that it does here is policies. It keeps its
# iptables rules: without them probes of kubelets look like the outside world.
walls() {
    mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
    # It would set these for the whole kernel, where nobody sets them back.
    for setting in kernel/unprivileged_bpf_disabled kernel/timer_migration; do
        cp "/proc/sys/$setting" "$own/${setting#*/}"
        mount --bind "$own/${setting#*/}" "/proc/sys/$setting"
    done
    mkdir -p "$own/cilium"
    cp -r "$cilium/bpf" "$own/cilium/bpf"
    PATH=/usr/lib/llvm-19/bin:$PATH K8S_NODE_NAME=$name CILIUM_K8S_NAMESPACE=kube-system start cilium \
        "$cilium/cilium-agent" --k8s-kubeconfig-path="$state/admin.conf" --lib-dir="$own/cilium" --state-dir=/run/cilium \
        --cluster-name=mixnn --ipam=kubernetes --k8s-require-ipv4-pod-cidr=true --routing-mode=native \
        --ipv4-native-routing-cidr=$pods --auto-direct-node-routes=false --enable-endpoint-routes=true --devices=eth0 \
        --enable-ipv6=false --enable-ipv4-masquerade=false --kube-proxy-replacement=false --bpf-lb-sock=false \
        --enable-l7-proxy=false --cni-exclusive=false --identity-allocation-mode=crd --enable-policy=default \
        --enable-hubble=false --enable-health-checking=false --enable-endpoint-health-checking=false
}

configure() {
    # restrict_oom_score_adj: without the right to lower it, runc "can't get final child's PID".
    cat >"$own/containerd.toml" <<EOF
version = 2
root = "$own/containerd"
state = "/run/containerd"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$own/cni/bin"
    conf_dir = "$own/cni/net.d"
EOF
    # cgroupRoot: nodes of one kernel would share /kubepods. No CPU quota: the whole cluster has the cores of one
    # machine, and shares by request are what it can give.
    cat >"$own/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /mixnn-$name
cpuCFSQuota: false
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix://$socket
clusterDNS: [$dns]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
tlsCertFile: $state/pki/$name.crt
tlsPrivateKeyFile: $state/pki/$name.key
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi}
EOF
    cat >"$own/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $state/proxy.conf}
clusterCIDR: $pods
hostnameOverride: $name
mode: nftables
conntrack: {maxPerCore: 0}
EOF
}

folders
network
plugins
configure
start containerd containerd --config "$own/containerd.toml"
await 20 "containerd" ctr -a "$socket" version
archives=("$images"/{pause,coredns}.tar)
[ "$full" != 1 ] || archives+=("$images/prometheus.tar")
for archive in "${archives[@]}"; do
    ctr -a "$socket" -n k8s.io images import "$archive" >>"$logs/$name-import.log" 2>&1
done
start kubelet kubelet --config="$own/kubelet.yaml" --kubeconfig="$state/$name.conf" --root-dir="$own/kubelet" \
    --hostname-override="$name" --node-ip="$ip" --node-labels=topology.kubernetes.io/zone="zone-$name" --v=2
start proxy kube-proxy --config="$own/proxy.yaml" --v=1
[ "$full" != 1 ] || walls
# Reaps what pods leave, until it is killed.
while :; do sleep 1 & wait -n || true; done
