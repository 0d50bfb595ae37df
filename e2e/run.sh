#!/usr/bin/env bash
# The whole on a real Kubernetes (make e2e): images, cluster, chart, a training in pods, the end of it all.
#
#   e2e/run.sh                          a cluster of three nodes on this machine; root, Debian 12, Go
#   E2E_FULL=1 e2e/run.sh               with Cilium, which enforces NetworkPolicies (13 minutes of CPU to build, once), two models
#                                       in one pool of relays, and Prometheus behind the dashboard
#   E2E_CLUSTER=existing e2e/run.sh     the cluster of KUBECONFIG; E2E_VALUES names a file with the chart's images
#
# Ends with 3, saying loudly why, where the machine cannot run it. If it fails, E2E_OUT (target/e2e) has all logs,
# events and objects. Needs the binaries of `cargo build --workspace`.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${E2E_OUT:-$PWD/target/e2e}
images=${MIXNN_CACHE:-$HOME/.cache/mixnn}/images
# The test, run where the cluster is.
test=(cargo test --workspace --locked --test cluster -- --ignored --nocapture)

if [ "${E2E_CLUSTER:-own}" = existing ]; then
    : "${E2E_VALUES:?a file with the images of the chart, by digest}"
    MIXNN_E2E_VALUES=$E2E_VALUES "${test[@]}" || { e2e/cluster/collect.sh "$out"; exit 1; }
    exit
fi

if ! lack=$(e2e/cluster/needs.sh --install); then
    {
        echo "################################################################################"
        echo "# SKIPPED: the end-to-end test on a real cluster. This machine lacks:"
        printf '#   %s\n' "${lack//$'\n'/$'\n#   '}"
        echo "################################################################################"
    } >&2
    exit 3
fi

ended() {
    local status=$?
    [ $status = 0 ] || e2e/cluster/collect.sh "$out"
    e2e/cluster/down.sh || status=1
    exit $status
}
mkdir -p "${images%/*}"
exec 9>"${images%/*}/e2e.lock"
flock -n 9 || { echo "e2e: another run uses the cluster of this machine; waiting for it" >&2; flock 9; }
rm -rf "$out"
e2e/cluster/down.sh
trap ended EXIT
full=()
if [ "${E2E_FULL:-0}" = 1 ]; then
    full=("MIXNN_E2E_REACH=$PWD/e2e/cluster/reach.sh")
else
    {
        echo "################################################################################"
        echo "# LEFT OUT of this run: NetworkPolicies that are enforced (Cilium), two models in"
        echo "# one pool of relays, the dashboard on a real Prometheus. E2E_FULL=1 make e2e"
        echo "################################################################################"
    } >&2
fi
docker/build.sh "$images"
e2e/cluster/images.sh
e2e/cluster/up.sh 9>&-
mkdir -p "$out"
e2e/cluster/load.sh "$images" >"$out/images.yaml"
e2e/cluster/enter.sh env MIXNN_E2E_KILL_NODE="$PWD/e2e/cluster/kill-node.sh" MIXNN_E2E_VALUES="$out/images.yaml" "${full[@]}" "${test[@]}" 9>&-
