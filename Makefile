# make run    train LeNet-5 over mix relays on this machine
# make test   everything that CI checks
# make help   the rest
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
FILE ?= examples/lenet5.yaml

.PHONY: help setup kube build images run test e2e soak lint lint-files lint-chart bench-serving bench-operator privacy bench generate clean

help: ## list of targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## fetch libtorch (once, 526 MB) into ~/.cache/mixnn
	@scripts/libtorch.sh

kube: ## build Kubernetes and Helm for tests (once, 15 minutes) into ~/.cache/mixnn
	@scripts/kube-assets.sh --nodes >/dev/null || [ $$? = 3 ]

build: setup ## the binaries, optimised, in target/release
	cargo build --release --locked

run: build ## train FILE (examples/lenet5.yaml) and compare with one process
	target/release/mixnn run --compare -f $(FILE)

test: lint lint-files kube lint-chart ## all tests
	cargo build --workspace --locked
	@scripts/kube-assets.sh --path >/dev/null 2>&1 && export MIXNN_NEED_CLUSTER=1; cargo test --workspace --locked
	@scripts/kube-assets.sh --path >/dev/null || echo "SKIPPED: the operator's tests on a real API server (make kube says why)" >&2
	@e2e/run.sh || [ $$? = 3 ]

e2e: setup kube ## the whole on a real Kubernetes of three nodes on this machine (root, Debian 12); E2E_FULL=1: and NetworkPolicies by Cilium
	cargo build --workspace --locked
	e2e/run.sh

images: build ## the images with buildah, into target/images (root, Debian 12)
	docker/build.sh target/images release

soak: setup ## kill processes at random, FAULTS times (1000), and compare the bits
	cargo build --workspace --locked
	MIXNN_CHAOS_FAULTS=$(or $(FAULTS),1000) cargo test --workspace --locked --test chaos -- --nocapture

lint: setup ## format and clippy, without warnings
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

lint-files: ## workflows by actionlint, the Dockerfile by hadolint, scripts by shellcheck
	@scripts/lint-files.sh || [ $$? = 3 ]

lint-chart: ## the Helm chart by helm lint, kubeconform, kube-score, checkov and promtool (two minutes the first time)
	@scripts/chart-checks.sh || [ $$? = 3 ]

bench-serving: build ## how fast FILE is served over relays, against one process (1, 8, 64 clients; a few minutes)
	cargo build --release --workspace --locked --example load
	@scripts/bench-serving.sh $(FILE)

privacy: ## attack lanes with and without cover; writes docs/privacy.json, .svg and the tables of .md
	cargo run --release --locked -p mixnn-lab -- --out docs/privacy.json --picture docs/privacy.svg --page docs/privacy.md

bench-operator: build kube ## what 1,000 models ask of an operator and of the API server; writes docs/operator.json
	MIXNN_NEED_CLUSTER=1 MIXNN_MODELS=$(or $(MODELS),1000) MIXNN_OPERATOR=$(CURDIR)/target/release/mixnn-operator \
	  MIXNN_FIGURES=$(CURDIR)/docs/operator.json cargo test --workspace --locked --test many -- --nocapture

bench: build ## time training over relays beside one process, half an hour on a quiet machine; writes docs/performance.*
	target/release/mixnn-bench --peer "scripts/pytorch.sh bench/peer/pipelining.py" --out docs/performance.json --picture docs/performance.svg --page docs/performance.md

generate: ## write again what is generated: the CRDs, what the chart has of them, how it renders, its README, docs/crds.md, docs/metrics.md
	MIXNN_GENERATE=1 cargo test --workspace --locked --test crd --test chart

clean: ## remove what was built; libtorch stays in ~/.cache/mixnn
	cargo clean
