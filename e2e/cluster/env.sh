# Where things are, for the scripts beside it.
# shellcheck shell=bash disable=SC2034
#
# One cluster a machine. Everything it writes is in $state; every process's log in $logs.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${MIXNN_CACHE:-$HOME/.cache/mixnn}
state=$cache/cluster
logs=$state/log
images=$cache/cluster-images
nodes=${MIXNN_NODES:-n1 n2 n3}
# 1: Cilium enforces NetworkPolicies, and there is a Prometheus to run.
full=${E2E_FULL:-0}

# Addresses, inside the network namespace of the cluster.
gateway=172.30.7.1
pods=10.244.0.0/16
services=10.96.0.0/16
dns=10.96.0.10
api=https://$gateway:6443
node_ip() { echo "172.30.7.$((10 + ${1#n}))"; }
node_pods() { echo "10.244.${1#n}.0/24"; }

say() { echo "cluster: $*" >&2; }
fail() { say "$@"; exit 1; }

# Waits: SECONDS, what for, then a command that is tried until it succeeds.
await() {
    local tries=$(($1 * 5)) what=$2
    shift 2
    for ((i = 0; i < tries; i++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "gave up waiting for $what; logs are in $logs"
}
