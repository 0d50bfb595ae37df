#!/usr/bin/env bash
# Ends a node as a power cut does: its pods, its kubelet, its network. It does not come back.
#
#   e2e/cluster/enter.sh e2e/cluster/kill-node.sh n2
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -e "$state/$1/pid" ] || fail "there is no node $1"
pid=$(cat "$state/$1/pid")
# Numbers of processes mean another one outside of the cluster's namespaces.
tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "e2e/cluster/node.sh $1" || fail "run this by e2e/cluster/enter.sh"
kill -KILL "$pid"
