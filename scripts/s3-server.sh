#!/usr/bin/env bash
# Runs moto's S3 server (https://pypi.org/project/moto) for tests, on 127.0.0.1 and the port given.
#
#   scripts/s3-server.sh 5000
#
# Fetched once into ~/.cache/mixnn; needs python3 with pip and flock. Ends when it is killed.
set -euo pipefail

version=5.2.5
folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/moto-$version
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "moto[server]==$version" >&2
    touch "$folder/complete"
fi
exec 9>&-
export PYTHONPATH=$folder
exec python3 -m moto.server --host 127.0.0.1 --port "${1:?the port}"
