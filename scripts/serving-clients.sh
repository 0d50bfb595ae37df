#!/usr/bin/env bash
# Runs python3 with the clients that serving is tested by: tritonclient and schemathesis, from PyPI.
#
#   scripts/serving-clients.sh e2e/tests/clients/triton.py 127.0.0.1:8000
#
# Fetched once into ~/.cache/mixnn; needs python3 with pip and flock. Ends with 3 where they cannot be had.
set -euo pipefail

pins=("tritonclient[http,grpc]==2.73.0" "schemathesis==4.32.5")
folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/serving-clients-2.73.0-4.32.5
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "${pins[@]}" >&2 || exit 3
    touch "$folder/complete"
fi
exec 9>&-
export PYTHONPATH=$folder PATH=$folder/bin:$PATH
exec python3 "$@"
