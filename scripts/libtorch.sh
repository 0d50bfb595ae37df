#!/usr/bin/env bash
# Makes .cache/libtorch point to a libtorch 2.13.0, which `.cargo/config.toml` names to every cargo command.
#
#   scripts/libtorch.sh              CPU: 490 MB on disk, from the PyPI wheel (526 MB to download, once)
#   MIXNN_CUDA=1 scripts/libtorch.sh the whole wheel with the CUDA libraries it asks for
#   LIBTORCH=/path scripts/libtorch.sh   one that is already there; its version is checked
#
# Needs python3 with pip (any 3.9 or later) and flock. Safe to run twice, or twice at once.
set -euo pipefail

version=2.13.0
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
link=$root/.cache/libtorch
flavour=cpu
[ "${MIXNN_CUDA:-0}" = 1 ] && flavour=cuda
folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/libtorch-$version-$flavour

say() { echo "libtorch: $*" >&2; }
fail() { say "$1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }

point_to() {
    mkdir -p "$root/.cache"
    ln -sfn "$1" "$link.$$" && mv -T "$link.$$" "$link"
    say "$1"
}

check_version() {
    local found
    found=$(cat "$1/build-version" 2>/dev/null || true)
    [ "${found%%+*}" = "$version" ] || fail "$1 holds version '${found:-unknown}', tch needs $version" \
        "unset LIBTORCH to let this script fetch it, or point LIBTORCH to libtorch $version"
    [ -e "$1/lib/libtorch_cpu.so" ] || fail "$1/lib/libtorch_cpu.so is missing" "unset LIBTORCH, or point it to a whole libtorch"
}

if [ -n "${LIBTORCH:-}" ] && [ "$(readlink -f "$LIBTORCH")" != "$(readlink -f "$link" || true)" ]; then
    check_version "$LIBTORCH"
    point_to "$(readlink -f "$LIBTORCH")"
    exit 0
fi

mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ -e "$folder/build-version" ]; then
    point_to "$folder"
    exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is missing" "on Debian: apt-get install python3-pip"
need=3
[ $flavour = cuda ] && need=12
free=$(df --output=avail -BG "$(dirname "$folder")" | tail -n 1 | tr -dc 0-9)
[ "$free" -ge $need ] || fail "$free GB free beside $folder, $need GB needed" "make room, or set MIXNN_CACHE to another disk"

work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
say "downloading torch $version ($flavour) from PyPI ..."
# One fixed wheel, whatever the Python here: only its C++ libraries are used.
wheel=(--only-binary=:all: --implementation cp --python-version 3.11 --abi cp311
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)
if [ $flavour = cuda ]; then
    fetch=("torch==$version")
else
    fetch=(--no-deps --require-hashes -r "$here/libtorch-requirements.txt")
fi
python3 -m pip download -q --disable-pip-version-check ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} \
    "${wheel[@]}" -d "$work/wheels" "${fetch[@]}" >&2 \
    || fail "pip could not download torch $version" "check the network and the proxy settings of pip, then run this again"

say "unpacking ..."
python3 - "$work" $flavour <<'PY'
import pathlib, shutil, sys, zipfile

work, flavour = pathlib.Path(sys.argv[1]), sys.argv[2]
out = work / "libtorch"
(out / "lib").mkdir(parents=True)
KEEP = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}


def wanted(name: str) -> pathlib.Path | None:
    """Where a file of a wheel goes, if anywhere."""
    base = name.rsplit("/", 1)[-1]
    if name.startswith("torch/include/"):
        return out / name.removeprefix("torch/")
    is_library = "/lib/" in name and ".so" in base and base != "libtorch_python.so"
    if is_library and (flavour == "cuda" or base in KEEP):
        return out / "lib" / base
    return None


for wheel in sorted((work / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as z:
        for member in z.infolist():
            target = None if member.is_dir() else wanted(member.filename)
            if target:
                target.parent.mkdir(parents=True, exist_ok=True)
                with z.open(member) as src, open(target, "wb") as dst:
                    shutil.copyfileobj(src, dst, 1 << 20)
    wheel.unlink()
if flavour == "cpu":
    (out / "lib/libtorch.so").symlink_to("libtorch_cpu.so")
PY
echo "$version" > "$work/libtorch/build-version"
mv "$work/libtorch" "$folder"
point_to "$folder"
