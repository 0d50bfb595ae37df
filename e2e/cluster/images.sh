#!/usr/bin/env bash
# Makes what a cluster's nodes run of their own: the images of pause and CoreDNS, once; with E2E_FULL=1 Debian's
# Prometheus too.
set -euo pipefail
. "$(dirname "$0")/env.sh"
PATH=$("$root/scripts/kube-assets.sh" --nodes --path):$PATH
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$cache/containers" --runroot /tmp/mixnn-buildah "$@"; }

image() { # NAME USER BINARY [LIBRARY...]: libraries stay where they are
    local container archive=$images/$1.tar library
    [ ! -e "$archive" ] || return 0
    say "image $1 ..."
    container=$(buildah from scratch)
    buildah copy -q "$container" "$3" "/$1" >/dev/null
    for library in "${@:4}"; do buildah copy -q "$container" "$library" "$library" >/dev/null; done
    buildah config --entrypoint "[\"/$1\"]" --user "$2" "$container"
    buildah commit -q --rm "$container" "docker-archive:$archive.new:localhost/$1:1" >/dev/null
    mv "$archive.new" "$archive"
}

mkdir -p "$images"
gcc -static -Os -o "$images/pause" "$here/pause/pause.c"
image pause 65535:65535 "$images/pause"
image coredns 65532:65532 "$(command -v coredns)"
if [ "$full" = 1 ]; then
    . "$root/scripts/deb.sh"
    unpack prometheus
    prometheus=$folder/usr/bin/prometheus
    # shellcheck disable=SC2046
    image prometheus 65534:65534 "$prometheus" $(ldd "$prometheus" | grep -o '/[^ ]*')
fi
