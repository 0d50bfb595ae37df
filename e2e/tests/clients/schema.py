"""The served OpenAPI document, held against the running server by a property-based tester.

  schema.py URL SECONDS_AT_MOST
"""
import subprocess
import sys

url, seconds = sys.argv[1:]
checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
command = [
    sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url, "--checks", checks,
    "--max-examples", "30", "--seed", "1", "--max-time", seconds, "--no-color",
    "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all",
]
sys.exit(subprocess.run(command).returncode)
