#!/usr/bin/env bash
# Says what the network of a pod reaches, a line each: TARGET open, TARGET refused, or TARGET silent (no answer in 5 s).
# Pods of MixNN have no shell: the shell is this machine's, in the network namespace of the pod.
#
#   e2e/cluster/enter.sh e2e/cluster/reach.sh NODE NAMESPACE POD ADDRESS/PORT...
set -euo pipefail
. "$(dirname "$0")/env.sh"
node=$1 namespace=$2 pod=$3
shift 3
[ -e "$state/$node/pid" ] || fail "there is no node $node"
in_node() { nsenter --target "$(cat "$state/$node/pid")" --mount --net --pid --wd=/ -- "$@"; }
ctr() { in_node ctr -a "$state/$node/containerd.sock" -n k8s.io "$@"; }

sandbox=$(ctr containers ls -q "labels.\"io.cri-containerd.kind\"==sandbox,labels.\"io.kubernetes.pod.namespace\"==$namespace,labels.\"io.kubernetes.pod.name\"==$pod")
# A number of the node's own namespace of processes.
pid=$(ctr tasks ls | awk -v id="$sandbox" '$1 == id && $3 == "RUNNING" { print $2 }')
[ -n "$pid" ] || fail "no sandbox of $namespace/$pid runs on $node"
for target in "$@"; do
    {
        said=0
        in_node nsenter --target "$pid" --net -- timeout 5 bash -c "exec 2>/dev/null; : </dev/tcp/$target" || said=$?
        case $said in 0) echo "$target open" ;; 124) echo "$target silent" ;; *) echo "$target refused" ;; esac
    } &
done
wait
