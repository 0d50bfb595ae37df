#!/usr/bin/env bash
# How fast a model is served over relays, against one process, in one run on this machine: 1, 8 and 64 clients,
# one sample a request, p50, p99 and requests a second. A line of JSON for each.
#
#   scripts/bench-serving.sh [MODEL.yaml] [SECONDS]     default: examples/lenet5.yaml, 10
#
# Expects release binaries (make build) and the example `load` of mixnn-serving; `make bench-serving` makes both.
set -euo pipefail

file=$(realpath "${1:-examples/lenet5.yaml}") seconds=${2:-10}
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/target/release
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
name=$(sed -n 's/.*name: \([a-z0-9-]*\).*/\1/p' "$file" | head -n 1)

echo "training $name for its weights ..." >&2
"$bin/mixnn" reference -f "$file" --run-dir trained >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 1; }

measure() { # how, flags ..
    local how=$1 url clients; shift
    "$bin/mixnn" serve -f "$file" --weights trained/reference.safetensors --address 127.0.0.1:0 --run-dir "$how" "$@" \
        >/dev/null 2>"$how.log" &
    server=$!
    until url=$(grep -o 'http://[^/]*' "$how.log" | head -n 1) && [ -n "$url" ]; do
        kill -0 $server 2>/dev/null || { cat "$how.log" >&2; exit 1; }
        sleep 0.2
    done
    for clients in 1 8 64; do
        "$bin/examples/load" "$url" "$name" $clients "$seconds" 1 | sed "s/^{/{\"how\":\"$how\",/"
    done
    kill -INT $server; wait $server; server=
}

# Twice each, in turns: what else the machine does must not count for one of them.
measure one-process-1 --one-process
measure over-relays-1
measure one-process-2 --one-process
measure over-relays-2
