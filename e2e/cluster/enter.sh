#!/usr/bin/env bash
# Runs a command where the cluster is: kubectl and helm in PATH, KUBECONFIG set.
#
#   e2e/cluster/enter.sh kubectl get nodes
#   e2e/cluster/enter.sh --node n2 ip address
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -e "$state/pid" ] || fail "no cluster runs; e2e/cluster/up.sh first"
inner=()
if [ "${1:-}" = --node ]; then
    inner=(nsenter --target "$(cat "$state/$2/pid")" --mount --net --pid --uts --ipc --wd="$PWD" --)
    shift 2
fi
PATH=$("$root/scripts/kube-assets.sh" --nodes --path):$PATH:/usr/sbin:/sbin
export PATH KUBECONFIG=$state/admin.conf
exec nsenter --target "$(cat "$state/pid")" --mount --net --pid --wd="$PWD" -- "${inner[@]}" "$@"
