#!/usr/bin/env bash
# Runs moto's S3 server (https://pypi.org/project/moto) for tests, on 127.0.0.1 and the port given.
#
#   scripts/s3-server.sh 5000
#
# Ends when it is killed.
set -euo pipefail
. "$(dirname "$0")/pypi.sh"

fetch moto-5.2.5 "moto[server]==5.2.5"
export PYTHONPATH=$folder
exec python3 -m moto.server --host 127.0.0.1 --port "${1:?the port}"
