#!/usr/bin/env bash
# Loads the images that docker/build.sh made into every node, and prints them by digest, as the chart's values.
#
#   e2e/cluster/load.sh FOLDER >values.yaml
set -euo pipefail
. "$(dirname "$0")/env.sh"
folder=${1:?the folder that docker/build.sh wrote}

load() { # NODE NAME: prints its reference by digest
    local containerd=("$here/enter.sh" --node "$1" ctr -a "$state/$1/containerd.sock" -n k8s.io images)
    local tag reference
    tag=$("${containerd[@]}" import "$folder/$2.tar" | awk '/^unpacking/ { print $2 }')
    reference=${tag%:*}@$("${containerd[@]}" ls "name==$tag" | awk 'NR == 2 { print $3 }')
    "${containerd[@]}" tag --force "$tag" "$reference" >/dev/null
    echo "$reference"
}

echo images:
for name in operator layer relay designer; do
    # Nodes side by side: each unpacks half a gigabyte.
    for node in $nodes; do load "$node" $name >"$state/$node/$name.ref" & done
    wait
    sort -u "$state"/n*/$name.ref | sed "s/^/  $name: /"
done
