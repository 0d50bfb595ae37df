#!/usr/bin/env bash
# Brings a real Kubernetes up on this machine: a control plane, and nodes with containerd, kubelet and kube-proxy.
#
#   e2e/cluster/up.sh                 E2E_FULL=1: with Cilium, which enforces NetworkPolicies
#   e2e/cluster/enter.sh kubectl get nodes
#   e2e/cluster/down.sh
#
# All of it lives in namespaces of one process, machine.sh. When that ends, processes, mounts, networks and
# rules end with it; what is left are cgroups, kernel-wide sysctls and files, and down.sh sees to those.
set -euo pipefail
. "$(dirname "$0")/env.sh"
started=$SECONDS

lack=$("$here/needs.sh") || fail "this machine lacks:" "$lack"
[ ! -e "$state" ] || fail "$state is there: a cluster runs, or ended badly; e2e/cluster/down.sh first"
mkdir -p "$logs"

# kubelet and kube-proxy set these for the whole kernel.
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [ ! -f /proc/sys/$name ] || echo "$name $(cat /proc/sys/$name)"
done >"$state/sysctls"

for controller in /sys/fs/cgroup/*/; do
    # Not v2's, where a machine has both.
    if [ ! -e "$controller/cgroup.procs" ] || [ -e "$controller/cgroup.controllers" ]; then continue; fi
    for node in $nodes; do
        mkdir -p "$controller/mixnn-$node"
        # A new cpuset is empty, and takes no process.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -f "$controller/$file" ] || cat "$controller/$file" >"$controller/mixnn-$node/$file"
        done
    done
done

MIXNN_NODES=$nodes nohup unshare --mount --net --pid --fork --mount-proc --propagation private \
    "$here/machine.sh" >"$logs/machine.log" 2>&1 </dev/null &
unshare_pid=$!
child() { pgrep -P "$unshare_pid" >"$state/pid"; }
await 10 "the namespaces" child

ended() { [ -e "$state/ready" ] || ! [ -d "/proc/$unshare_pid" ]; }
await 400 "the cluster" ended
[ -e "$state/ready" ] || { tail -n 5 "$logs/machine.log" >&2; fail "the cluster did not come up; logs are in $logs"; }
say "up after $((SECONDS - started)) s: $nodes"
