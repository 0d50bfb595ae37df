#!/usr/bin/env bash
# Builds the Kubernetes control plane that the operator's tests run against, and prints the folder it is in.
#
#   scripts/kube-assets.sh           builds what is missing (8-10 minutes on 2 cores, once), prints the folder
#   scripts/kube-assets.sh --path    prints the folder, builds nothing; ends with 1 if something is missing
#   KUBEBUILDER_ASSETS=/path scripts/kube-assets.sh   binaries that are already there (setup-envtest's layout)
#
# etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl come from Go modules at the versions
# in e2e/cluster/kubernetes/go.mod, checked against its go.sum. Needs Go. Safe to run twice, or twice at once.
# Without Go it says loudly what is skipped and ends with 3.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
module=$(dirname "$here")/e2e/cluster/kubernetes
version=$(sed -n 's/^require k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' "$module/go.mod")
binaries="etcd kube-apiserver kube-controller-manager kube-scheduler kubectl"

say() { echo "kube-assets: $*" >&2; }

missing() { # FOLDER: names of the binaries that are not there
    local name
    for name in $binaries; do [ -x "$1/$name" ] || echo "$name"; done
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    lack=$(missing "$KUBEBUILDER_ASSETS" | xargs)
    [ -z "$lack" ] || { say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks $lack; add them, or unset it to build them"; exit 1; }
    echo "$KUBEBUILDER_ASSETS"
    exit 0
fi

folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/kube-$version
if [ -z "$(missing "$folder")" ]; then echo "$folder"; exit 0; fi
[ "${1:-}" != --path ] || { say "$folder lacks $(missing "$folder" | xargs); run scripts/kube-assets.sh"; exit 1; }

if ! command -v go >/dev/null; then
    say "############################################################################"
    say "# Go is not installed: the operator's tests on a real API server are SKIPPED."
    say "# Install Go 1.26 or later, or point KUBEBUILDER_ASSETS to kube-apiserver, etcd,"
    say "# kube-controller-manager, kube-scheduler and kubectl, and run this again."
    say "############################################################################"
    exit 3
fi

mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9
cd "$module"
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly"
stamp=k8s.io/component-base/version
flags="-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=$(echo "$version" | cut -d. -f2)"
for name in $(missing "$folder"); do
    package=k8s.io/kubernetes/cmd/$name
    [ "$name" = etcd ] && package=go.etcd.io/etcd/server/v3
    say "building $name ..."
    go build -trimpath -ldflags "$flags" -o "$folder/.$name" "$package" >&2
    mv "$folder/.$name" "$folder/$name"
done
echo "$folder"
