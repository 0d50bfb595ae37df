#!/usr/bin/env bash
# Runs python3 with the clients that serving is tested by: tritonclient and schemathesis, from PyPI.
#
#   scripts/serving-clients.sh e2e/tests/clients/triton.py 127.0.0.1:8000
#
# Ends with 3 where they cannot be had.
set -euo pipefail
. "$(dirname "$0")/pypi.sh"

fetch serving-clients-2.73.0-4.32.5 "tritonclient[http,grpc]==2.73.0" "schemathesis==4.32.5"
export PYTHONPATH=$folder PATH=$folder/bin:$PATH
exec python3 "$@"
