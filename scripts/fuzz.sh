#!/usr/bin/env bash
# Runs every fuzz target of fuzz/ under libFuzzer, each for a bounded time.
#
#   scripts/fuzz.sh              60 seconds a target
#   scripts/fuzz.sh 600          ten minutes a target
#   scripts/fuzz.sh 600 letter   one target, or several
#
# Stable Rust and a C++ compiler are enough: the flags below are those of cargo-fuzz, without the address
# sanitizer, which code without `unsafe` does not need. The corpus grows in fuzz/corpus; an input
# that breaks a target is kept in fuzz/artifacts, and the script ends with 1.
set -euo pipefail

seconds=${1:-60}
[ $# -gt 0 ] && shift
case $seconds in ''|*[!0-9]*) echo "usage: scripts/fuzz.sh [SECONDS] [TARGET...]" >&2; exit 2;; esac
cd "$(dirname "$0")/../fuzz"
if [ $# = 0 ]; then mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs); set -- "${targets[@]}"; fi

cargo test --quiet --locked -p mixnn-protocol --manifest-path ../Cargo.toml --test fuzz_bounded \
    -- --ignored write_seeds >/dev/null

host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-../target}/fuzz
coverage="-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, build scripts stay without these flags.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module $coverage -Ccodegen-units=1" \
    CARGO_TARGET_DIR=$target cargo build --locked --release --target "$host" --bins

failed=()
for name in "$@"; do
    mkdir -p artifacts "corpus/$name"
    echo "fuzz: $name for $seconds s" >&2
    "$target/$host/release/$name" "corpus/$name" -artifact_prefix="artifacts/$name-" \
        -max_total_time="$seconds" -max_len=20000 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 2>"artifacts/$name.log" || failed+=("$name")
    grep -E "^(stat::number_of_executed_units|stat::peak_rss_mb)|SUMMARY|panicked" "artifacts/$name.log" >&2 || true
done
[ ${#failed[@]} = 0 ] || { echo "fuzz: broken: ${failed[*]}; see fuzz/artifacts" >&2; exit 1; }
