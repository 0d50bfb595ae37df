#!/usr/bin/env bash
# Puts everything that explains a failure into a folder: logs of processes and pods, events, objects.
#
#   e2e/cluster/collect.sh FOLDER
set -uo pipefail
. "$(dirname "$0")/env.sh"
out=${1:?a folder}
mkdir -p "$out/pods"
[ ! -d "$logs" ] || cp -r "$logs" "$out/processes"
kubectl=(kubectl)
[ ! -e "$state/pid" ] || kubectl=("$here/enter.sh" kubectl)

"${kubectl[@]}" get events -A --sort-by=.lastTimestamp >"$out/events.txt" 2>&1
"${kubectl[@]}" get pods -A -o wide >"$out/pods.txt" 2>&1
"${kubectl[@]}" get nodes,namespaces,mixnn,mixhost,pods,statefulsets,deployments,jobs,networkpolicies,persistentvolumes,persistentvolumeclaims,leases \
    -A -o yaml >"$out/objects.yaml" 2>&1
"${kubectl[@]}" get configmaps -n mixnn-system -o yaml >"$out/records.yaml" 2>&1
"${kubectl[@]}" get pods -A --no-headers -o custom-columns=:metadata.namespace,:metadata.name 2>/dev/null | while read -r namespace name; do
    "${kubectl[@]}" logs -n "$namespace" "$name" >"$out/pods/$namespace.$name.log" 2>&1
    "${kubectl[@]}" logs -n "$namespace" "$name" --previous >"$out/pods/$namespace.$name.previous.log" 2>/dev/null ||
        rm -f "$out/pods/$namespace.$name.previous.log"
done
say "logs, events and objects are in $out"
