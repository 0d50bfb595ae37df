#!/usr/bin/env bash
# Runs python3 with what looks at runs in tests: TensorBoard, and Selenium for a browser, from PyPI.
#
#   scripts/watching-clients.sh e2e/tests/clients/curves.py FOLDER 300
#
# Fetched once into ~/.cache/mixnn; needs python3 with pip and flock. Ends with 3 where they cannot be had.
set -euo pipefail

pins=("tensorboard==2.21.0" "selenium==4.36.0")
folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/watching-clients-2.21.0-4.36.0
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "${pins[@]}" >&2 || exit 3
    touch "$folder/complete"
fi
exec 9>&-
export PYTHONPATH=$folder
exec python3 "$@"
