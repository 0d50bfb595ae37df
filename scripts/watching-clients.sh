#!/usr/bin/env bash
# Runs python3 with what looks at runs in tests: TensorBoard, and Selenium for a browser, from PyPI.
#
#   scripts/watching-clients.sh e2e/tests/clients/curves.py FOLDER 300
#
# Ends with 3 where they cannot be had.
set -euo pipefail
. "$(dirname "$0")/pypi.sh"

fetch watching-clients-2.21.0-4.36.0 "tensorboard==2.21.0" "selenium==4.36.0"
export PYTHONPATH=$folder
exec python3 "$@"
