#!/usr/bin/env bash
# Builds Cilium, which enforces NetworkPolicies in the full end-to-end run, and prints the folder it is in.
#
#   scripts/cilium.sh           builds it (13 minutes of CPU, once)
#   scripts/cilium.sh --path    prints the folder, builds nothing; ends with 1 if it is not there
#
# The folder holds cilium-agent, cilium-cni, and of their module bpf/, which the agent compiles by clang on each node, and
# crds/. The module is checked against e2e/cluster/cilium/go.sum, what it needs against its own. Needs Go.
set -euo pipefail

module=$(cd "$(dirname "$0")/../e2e/cluster/cilium" && pwd)
version=$(sed -n 's/^require github.com\/cilium\/cilium v\([0-9.]*\)$/\1/p' "$module/go.mod")
folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/cilium-$version

if [ -e "$folder/complete" ]; then echo "$folder"; exit 0; fi
[ "${1:-}" != --path ] || { echo "cilium: not built; run scripts/cilium.sh" >&2; exit 1; }
go version 2>/dev/null | grep -Eq 'go(1\.(2[1-9]|[3-9][0-9])|[2-9])' ||
    { echo "cilium: Go 1.21 or later is not installed" >&2; exit 3; }

mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=mod"
if [ ! -e "$folder/complete" ]; then
    echo "cilium: building version $version ..." >&2
    source=$(cd "$module" && GOFLAGS=-mod=readonly go mod download -json github.com/cilium/cilium | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    # Built where it can be written: as the main module it takes its own replacements and sums.
    rm -rf "$folder/source"
    cp -r --no-preserve=mode "$source" "$folder/source"
    cd "$folder/source"
    go build -trimpath -ldflags "-s -w -X github.com/cilium/cilium/pkg/version.ciliumVersion=$version" -o "$folder/cilium-agent" ./daemon >&2
    go build -trimpath -ldflags "-s -w" -o "$folder/cilium-cni" ./plugins/cilium-cni >&2
    rm -rf "$folder/bpf" "$folder/crds"
    mv bpf "$folder/bpf"
    mv pkg/k8s/apis/cilium.io/client/crds "$folder/crds"
    cd "$folder"
    rm -rf source
    touch complete
fi
echo "$folder"
