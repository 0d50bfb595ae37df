#!/usr/bin/env bash
# Checks the Helm chart without a cluster (make lint-chart): helm lint, kubeconform, kube-score, checkov, promtool.
#
# What it calls is fetched once into ~/.cache/mixnn: Go modules as in charts/checks/go.mod, checkov from PyPI, promtool
# from Debian. What is found but meant is in charts/checks/exceptions.toml, with reasons. Ends with 3, saying loudly why,
# where it cannot check.
set -euo pipefail
cd "$(dirname "$0")/.."
checks=$PWD/charts/checks
cache=${MIXNN_CACHE:-$HOME/.cache/mixnn}
kubernetes=$(sed -n 's/^require k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' e2e/cluster/kubernetes/go.mod)

skipped() {
    {
        echo "################################################################################"
        echo "# SKIPPED: the checks of the Helm chart. $*"
        echo "################################################################################"
    } >&2
    exit 3
}

module() { # FOLDER MODULE: where the module is that the folder's go.mod names
    (cd "$1" && go mod download -json "$2") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

assets=$(scripts/kube-assets.sh --nodes --path 2>/dev/null) && PATH=$assets:$PATH
command -v helm >/dev/null || skipped "Helm is missing: make kube, or https://helm.sh"
go version 2>/dev/null | grep -Eq 'go(1\.(2[1-9]|[3-9][0-9])|[2-9])' || skipped "Go 1.21 or later is missing."
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly"

# Everything that decides on binaries and schemas.
tools=$cache/chart-checks-$(cat "$checks/go.mod" "$checks/go.sum" "$checks/schemas.py" e2e/cluster/kubernetes/go.mod | sha256sum | head -c 12)
mkdir -p "$tools"
. scripts/deb.sh
unpack prometheus || skipped "promtool is missing: it comes with Debian's package prometheus."
promtool=$folder/usr/bin/promtool
. scripts/pypi.sh
checkov=$cache/checkov-3.3.30
(fetch "${checkov##*/}" "checkov==3.3.30") &
fetching=$!
(cd "$checks" && go mod download) || skipped "Go modules of charts/checks/go.mod cannot be had."
(cd "$checks" && go build -trimpath -ldflags "-s -w" -o "$tools/" \
    github.com/yannh/kubeconform/cmd/kubeconform github.com/zegl/kube-score/cmd/kube-score)
wait "$fetching" || skipped "checkov is missing: it comes from PyPI."
export PYTHONPATH=$checkov

if [ ! -e "$tools/schemas" ]; then
    kubernetes_source=$(module e2e/cluster/kubernetes k8s.io/kubernetes) && [ -n "$kubernetes_source" ] ||
        skipped "The Go module k8s.io/kubernetes cannot be had."
    prometheus_source=$(module "$checks" github.com/prometheus-operator/prometheus-operator) && [ -n "$prometheus_source" ] ||
        skipped "The Go module of the Prometheus operator cannot be had."
    rm -rf "$tools/.schemas"
    python3 "$checks/schemas.py" "$tools/.schemas" "$kubernetes_source/api/openapi-spec/swagger.json" \
        "$prometheus_source"/example/prometheus-operator-crd/*_{podmonitors,prometheusrules,servicemonitors}.yaml
    mv "$tools/.schemas" "$tools/schemas"
fi
own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT
python3 "$checks/schemas.py" "$own/schemas" crds/*.yaml

digest=example.org/mixnn@sha256:$(printf '0%.0s' {1..64})
images=images.operator=$digest,images.layer=$digest,images.relay=$digest,images.designer=$digest
everything=relays.metrics=true,monitoring.podMonitor=true,monitoring.serviceMonitor=true,monitoring.rules=true,monitoring.dashboard=true,monitoring.labels.release=x
everything+=,networkPolicy.monitoring.team=observability,uninstall.force=true,sharedPool.relays=6
everything+=,otlp.endpoint=http://collector.observability:4318,otlp.headersSecret=collector
for variant in default everything "narrow rbac.clusterWide=false,networkPolicy.enabled=false,replicas=1"; do
    read -r name settings <<<"${variant/#everything/everything $everything}"
    settings=(--kube-version "$kubernetes" --namespace mixnn-system --set "$images${settings:+,$settings}")
    helm lint --strict --quiet "${settings[@]}" charts/mixnn
    helm template mixnn charts/mixnn "${settings[@]}" >"$own/$name.yaml"
done
"$tools/kubeconform" -strict -summary -schema-location "$tools/schemas/{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json" \
    -schema-location "$own/schemas/{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json" "$own"/*.yaml examples/*.yaml
"$tools/kube-score" score --kubernetes-version "v${kubernetes%.*}" --output-format json "$own/everything.yaml" >"$own/kube-score.json" || true
python3 "$checkov/bin/checkov" --file "$own/everything.yaml" --framework kubernetes --output json --quiet --compact --skip-download \
    >"$own/checkov.json" || true
python3 "$checks/findings.py" "$own"
"$promtool" check rules --lint=all --lint-fatal charts/mixnn/files/rules.yaml
"$promtool" test rules "$checks/alerts.yaml"
