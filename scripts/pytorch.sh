#!/usr/bin/env bash
# Runs Python 3.11 with PyTorch 2.13.0 on the CPU, whose weights and logits tests compare with.
#
#   scripts/pytorch.sh e2e/tests/clients/pytorch.py logits weights.safetensors ..
#
# PyPI has no wheel for the CPU alone: this takes the one with CUDA, leaves out CUDA, and fills what its Python
# side asks of CUDA's libraries with stubs (scripts/pytorch_stub.py). Fetched once into ~/.cache/mixnn (526 MB to
# download, 0.6 GB on disk); needs python3.11 with pip, gcc, binutils and flock. Ends with 3 where it cannot be had.
set -euo pipefail

version=2.13.0
python=$(command -v python3.11 || command -v python3)
here=$(cd "$(dirname "$0")" && pwd)
folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/pytorch-$version
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
    for tool in gcc nm; do command -v $tool >/dev/null || { echo "pytorch: $tool is missing" >&2; exit 3; }; done
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "pytorch: there is no Python 3.11" >&2; exit 3; }
    rm -rf "$folder" && mkdir -p "$folder"
    pip=("$python" -m pip --quiet --disable-pip-version-check)
    "${pip[@]}" download --no-deps --no-cache-dir --require-hashes -r "$here/libtorch-requirements.txt" \
        --only-binary=:all: -d "$folder/wheels" >&2 || exit 3
    "$python" - "$folder" <<'PY'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
(folder / "torch/lib").mkdir(parents=True)
# Libraries of CUDA, what is compiled against, and what tests itself.
LEFT_OUT = ("torch/include/", "torch/share/", "torch/test/", "torch/lib/libtorch_cuda", "torch/lib/libtorch_nvshmem")
for wheel in sorted((folder / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name.startswith(LEFT_OUT) or name.endswith(".a"):
                continue
            if name.startswith("nvidia/"):
                # Only what the CPU side is linked to, beside the libraries.
                base = name.rsplit("/", 1)[-1]
                if base.startswith(("libcudart.so", "libcupti.so.")):
                    (folder / "torch/lib" / base).write_bytes(z.read(name))
                continue
            z.extract(name, folder)
    wheel.unlink()
PY
    "${pip[@]}" install --no-cache-dir --target "$folder" numpy==2.3.5 safetensors==0.7.0 typing_extensions sympy==1.14.0 networkx filelock fsspec jinja2 >&2 || exit 3
    "$python" "$here/pytorch_stub.py" "$folder/torch/lib" >&2 || exit 3
    touch "$folder/complete"
fi
exec 9>&-
export PYTHONPATH=$folder LD_LIBRARY_PATH=$folder/torch/lib
exec "$python" "$@"
