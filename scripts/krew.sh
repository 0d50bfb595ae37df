#!/usr/bin/env bash
# Packs the command as a kubectl plugin, and writes the manifest by which krew installs it.
#
#   scripts/krew.sh BINARY VERSION URL OUT
#   scripts/krew.sh target/release/mixnn v0.1.0 https://github.com/mixnn/mixnn/releases/download/v0.1.0 target/krew
#
# OUT gets kubectl-mixnn-linux-amd64.tar.gz and mixnn.yaml; URL is where the archive will be found. The same binary always
# gives the same archive. To try it: kubectl krew install --manifest OUT/mixnn.yaml --archive OUT/kubectl-mixnn-linux-amd64.tar.gz
set -euo pipefail
[ $# = 4 ] || { sed -n 's/^# \{0,1\}//;2,9p' "$0" >&2; exit 2; }
binary=$1 version=$2 url=$3 out=$4
root=$(cd "$(dirname "$0")/.." && pwd)
archive=kubectl-mixnn-linux-amd64.tar.gz

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
install -m 755 "$binary" "$folder/kubectl-mixnn"
install -m 644 "$root/LICENSE" "$folder/LICENSE"
mkdir -p "$out"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$folder" -c LICENSE kubectl-mixnn |
    gzip -n >"$out/$archive"

cat >"$out/mixnn.yaml" <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: mixnn
spec:
  version: $version
  homepage: https://github.com/mixnn/mixnn
  shortDescription: Train models over layers on foreign hosts
  description: |
    Shows how MixNNModels fare (status, events, logs), and what keeps them
    from running in a namespace, with what to do about it (check).
  caveats: |
    The cluster needs MixNN's operator: docs/install.md of the homepage.
    For completions by kubectl, link kubectl-mixnn to kubectl_complete-mixnn
    in PATH.
  platforms:
    - selector:
        matchLabels:
          os: linux
          arch: amd64
      uri: ${url%/}/$archive
      sha256: $(sha256sum "$out/$archive" | cut -d' ' -f1)
      bin: kubectl-mixnn
END
echo "$out/$archive and $out/mixnn.yaml"
