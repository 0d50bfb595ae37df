#!/usr/bin/env bash
# Runs MLflow's tracking server (https://pypi.org/project/mlflow-skinny, its Flask application) for tests, on 127.0.0.1 and
# the port given, with its runs below a folder.
#
#   scripts/mlflow-server.sh 5000 FOLDER
#
# Ends when it is killed; with 3 where it cannot be had.
set -euo pipefail
. "$(dirname "$0")/pypi.sh"

fetch mlflow-skinny-2.22.4 "mlflow-skinny==2.22.4" "Flask==3.1.3"
export PYTHONPATH=$folder _MLFLOW_SERVER_FILE_STORE=${2:?a folder} _MLFLOW_SERVER_ARTIFACT_ROOT=$2/artifacts
exec python3 - "${1:?the port}" <<'PY'
import sys

from mlflow.server import app
from werkzeug.serving import run_simple

run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
PY
