#!/usr/bin/env bash
# Makes what a cluster's nodes run of their own: the images of pause and CoreDNS, once.
set -euo pipefail
. "$(dirname "$0")/env.sh"
PATH=$("$root/scripts/kube-assets.sh" --nodes --path):$PATH
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$cache/containers" --runroot /tmp/mixnn-buildah "$@"; }

image() { # NAME USER BINARY
    local container archive=$images/$1.tar
    [ ! -e "$archive" ] || return 0
    say "image $1 ..."
    container=$(buildah from scratch)
    buildah copy -q "$container" "$3" "/$1" >/dev/null
    buildah config --entrypoint "[\"/$1\"]" --user "$2" "$container"
    buildah commit -q --rm "$container" "docker-archive:$archive.new:localhost/$1:1" >/dev/null
    mv "$archive.new" "$archive"
}

mkdir -p "$images"
gcc -static -Os -o "$images/pause" "$here/pause/pause.c"
image pause 65535:65535 "$images/pause"
image coredns 65532:65532 "$(command -v coredns)"
