#!/usr/bin/env bash
# Builds the Kubernetes binaries that tests run, and prints the folders they are in, as a PATH.
#
#   scripts/kube-assets.sh           the control plane (8-10 minutes on 2 cores, once)
#   scripts/kube-assets.sh --nodes   and what nodes need: kubelet, kube-proxy, CoreDNS, Helm (8 minutes more)
#   ... --path    prints the folders, builds nothing; ends with 1 if something is missing
#   KUBEBUILDER_ASSETS=/path scripts/kube-assets.sh   a control plane that is already there (setup-envtest's layout)
#
# All come from Go modules at the versions in e2e/cluster/*/go.mod, checked against their go.sum. Needs Go. Safe to
# run twice, or twice at once. Without Go it says loudly what is skipped and ends with 3.
set -euo pipefail

modules=$(cd "$(dirname "$0")/../e2e/cluster" && pwd)
cache=${MIXNN_CACHE:-$HOME/.cache/mixnn}
control_plane="etcd kube-apiserver kube-controller-manager kube-scheduler kubectl"
binaries=$control_plane
build=1
for argument in "$@"; do
    case $argument in
        --nodes) binaries="$control_plane kubelet kube-proxy coredns helm" ;;
        --path) build=0 ;;
        *) echo "usage: scripts/kube-assets.sh [--nodes] [--path]" >&2; exit 2 ;;
    esac
done

say() { echo "kube-assets: $*" >&2; }

module_of() { case $1 in coredns | helm) echo "$1" ;; *) echo kubernetes ;; esac; }

package_of() {
    case $1 in
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        coredns) echo . ;;
        helm) echo helm.sh/helm/v3/cmd/helm ;;
        *) echo "k8s.io/kubernetes/cmd/$1" ;;
    esac
}

version_of() { # MODULE: the version that its go.mod requires
    case $1 in
        kubernetes) pattern='k8s.io\/kubernetes' ;;
        coredns) pattern='github.com\/coredns\/coredns' ;;
        helm) pattern='helm.sh\/helm\/v3' ;;
    esac
    sed -n "s/^\(require \|\t\)$pattern v\([0-9.]*\).*/\2/p" "$modules/$1/go.mod"
}

folder_of() { # NAME: where its binary is
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [[ " $control_plane " == *" $1 "* ]]; then
        echo "$KUBEBUILDER_ASSETS"
        return
    fi
    local module version
    module=$(module_of "$1")
    version=$(version_of "$module")
    case $module in kubernetes) module=kube ;; esac
    echo "$cache/$module-$version"
}

missing() { # names of the binaries that are not there
    local name
    for name in $binaries; do [ -x "$(folder_of "$name")/$name" ] || echo "$name"; done
}

print_folders() { for name in $binaries; do folder_of "$name"; done | awk '!seen[$0]++' | paste -sd:; }

flags_of() { # NAME: linker flags
    local stamp=k8s.io/component-base/version version
    version=$(version_of kubernetes)
    echo -n "-s -w"
    [ "$(module_of "$1")" != kubernetes ] ||
        echo -n " -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=$(echo "$version" | cut -d. -f2)"
}

lack=$(missing | xargs)
if [ -z "$lack" ]; then print_folders; exit 0; fi
[ $build = 1 ] || { say "$lack missing; run scripts/kube-assets.sh"; exit 1; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    for name in $lack; do
        [[ " $control_plane " != *" $name "* ]] ||
            { say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks $name; add it, or unset it to build them"; exit 1; }
    done
fi

# A Go before 1.21 can neither read these go.mod files nor fetch the Go that they ask for.
if ! go version 2>/dev/null | grep -Eq 'go(1\.(2[1-9]|[3-9][0-9])|[2-9])'; then
    say "############################################################################"
    say "# Go 1.21 or later is not installed: the tests on a real Kubernetes are SKIPPED."
    say "# Install Go, or point KUBEBUILDER_ASSETS to kube-apiserver, etcd,"
    say "# kube-controller-manager, kube-scheduler and kubectl, and run this again."
    say "############################################################################"
    exit 3
fi

mkdir -p "$cache"
exec 9>"$cache/kube-assets.lock"
flock 9
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly"
for name in $(missing); do
    folder=$(folder_of "$name")
    mkdir -p "$folder"
    say "building $name ..."
    (cd "$modules/$(module_of "$name")" &&
        go build -trimpath -ldflags "$(flags_of "$name")" -o "$folder/.$name" "$(package_of "$name")" >&2)
    mv "$folder/.$name" "$folder/$name"
done
print_folders
