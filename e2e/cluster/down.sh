#!/usr/bin/env bash
# Ends the cluster that up.sh started, and proves that nothing of it is left. Ends with 1 if something is.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -e "$state" ] || { say "there is none"; exit 0; }

# Whether a process is machine.sh: a stale number may be anybody's by now.
ours() { { tr "\0" " " <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF "e2e/cluster/machine.sh"; }
# Processes that still use the state or run in our cgroups.
processes() {
    pgrep -f "$state/" || true
    cat /sys/fs/cgroup/*/mixnn-n*/cgroup.procs 2>/dev/null || true
}
gone() { [ -z "$(processes)" ]; }
folders() { ls -d /sys/fs/cgroup/*/mixnn-n* 2>/dev/null; }
remove_groups() {
    # shellcheck disable=SC2046
    [ -z "$(folders)" ] || find $(folders) -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ -z "$(folders)" ]
}

pid=$(cat "$state/pid" 2>/dev/null || true)
if [ -n "$pid" ] && ours "$pid"; then
    # The kernel ends every process of its pid namespace, and of the nodes' within.
    kill -KILL "$pid"
fi
await 20 "processes to end: see pgrep -f $state/, and cgroup.procs in /sys/fs/cgroup/*/mixnn-n*" gone
await 20 "cgroups to be removed: /sys/fs/cgroup/*/mixnn-n*" remove_groups
while read -r name value; do
    [ "$(cat "/proc/sys/$name")" = "$value" ] || echo "$value" >"/proc/sys/$name"
done <"$state/sysctls"
rm -rf --one-file-system "$state"

left=$({ grep -F "$state" /proc/mounts; ip -o link | grep -F mixnn; } 2>/dev/null || true)
[ -z "$left" ] || fail "left behind:" "$left"
say "down: no process, mount, network or cgroup is left"
