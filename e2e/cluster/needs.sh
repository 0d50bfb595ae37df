#!/usr/bin/env bash
# Says what this machine lacks for a cluster, a line each; ends with 1 if anything.
#
#   e2e/cluster/needs.sh             looks
#   e2e/cluster/needs.sh --install   installs Debian's packages first (root), and builds Kubernetes where Go is
set -euo pipefail
. "$(dirname "$0")/env.sh"

packages="containerd runc containernetworking-plugins buildah debootstrap iproute2 iptables nftables conntrack openssl procps gcc libc6-dev"
# A command of each.
commands="containerd runc buildah debootstrap ip iptables nft conntrack openssl pgrep gcc"
if [ "$full" = 1 ]; then
    # Cilium's agent compiles what it puts into the kernel.
    packages+=" clang-19 llvm-19 curl"
    commands+=" clang-19 llc-19 curl"
fi
# sbin is not in everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

missing_commands() { for c in $commands; do command -v "$c" >/dev/null || echo "$c"; done; }

# Nothing is installed where it would be of no use.
if [ "${1:-}" = --install ] && [ "$(id -u)" = 0 ] && [ -d /sys/fs/cgroup/memory ]; then
    if [ -n "$(missing_commands)" ] || [ ! -d /usr/lib/cni ]; then
        say "installing Debian's packages ..."
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -q && apt-get install -yq --no-remove --no-install-recommends $packages; } >/dev/null ||
            say "apt-get could not install them"
    fi
    "$root/scripts/kube-assets.sh" --nodes >/dev/null || true
    [ "$full" != 1 ] || "$root/scripts/cilium.sh" >/dev/null || true
fi

lack=()
[ "$(id -u)" = 0 ] || lack+=("root: namespaces, mounts and cgroups are made")
for c in $(missing_commands); do lack+=("command $c (apt-get install $packages)"); done
[ -d /usr/lib/cni ] || lack+=("/usr/lib/cni (Debian's containernetworking-plugins)")
[ -d /sys/fs/cgroup/memory ] || lack+=("cgroup v1: on machines with v2, use kind and E2E_CLUSTER=existing")
"$root/scripts/kube-assets.sh" --nodes --path >/dev/null 2>&1 ||
    lack+=("Kubernetes' binaries (scripts/kube-assets.sh --nodes, which needs Go)")
[ "$full" != 1 ] || "$root/scripts/cilium.sh" --path >/dev/null 2>&1 || lack+=("Cilium (scripts/cilium.sh, which needs Go)")
[ ${#lack[@]} = 0 ] || { printf '%s\n' "${lack[@]}"; exit 1; }
