#!/usr/bin/env bash
# Loads the images that docker/build.sh made into a kind cluster, and prints them by digest, as the chart's values.
#
#   e2e/kind-load.sh FOLDER CLUSTER >values.yaml
set -euo pipefail
folder=${1:?the folder that docker/build.sh wrote}
cluster=${2:?the name of the kind cluster}

load() { # NODE NAME: prints its reference by digest
    local containerd=(docker exec -i "$1" ctr -n k8s.io images) tag reference
    tag=$("${containerd[@]}" import - <"$folder/$2.tar" | awk '/^unpacking/ { print $2 }')
    reference=${tag%:*}@$("${containerd[@]}" ls "name==$tag" | awk 'NR == 2 { print $3 }')
    "${containerd[@]}" tag --force "$tag" "$reference" >/dev/null
    echo "$reference"
}

echo images:
for name in operator layer relay designer; do
    for node in $(kind get nodes --name "$cluster"); do load "$node" $name; done | sort -u | sed "s/^/  $name: /"
done
