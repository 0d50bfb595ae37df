#!/usr/bin/env bash
# Builds the images of docker/Dockerfile with buildah, without compiling again, and prints their sizes
# (unpacked; a registry keeps them compressed).
#
#   docker/build.sh FOLDER             from target/debug, stripped
#   docker/build.sh FOLDER release     from target/release
#
# FOLDER gets an archive NAME.tar for each image, localhost/mixnn-NAME:PROFILE. The binaries have to be built on
# Debian 12, as the base of the images is. Needs root, buildah and debootstrap.
set -euo pipefail

out=$(mkdir -p "${1:?a folder for the images}" && cd "$1" && pwd)
profile=${2:-debug}
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${MIXNN_CACHE:-$HOME/.cache/mixnn}
names="operator relay layer designer"
export BUILDAH_ISOLATION=chroot
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A store of our own: nobody else's images are touched.
buildah() { command buildah --root "$cache/containers" --runroot "$work/run" "$@"; }

say() { echo "images: $*" >&2; }

# Debian as the Dockerfile's BASE has it, from Debian's own packages.
base() {
    local tar=$cache/debian-bookworm.tar
    if [ ! -e "$tar" ]; then
        say "making the base from Debian's packages (a minute, once) ..."
        debootstrap --variant=minbase --include=ca-certificates,libstdc++6 bookworm "$work/base" >"$work/log" ||
            { tail -n 5 "$work/log" >&2; exit 1; }
        tar -C "$work/base" --exclude=./var/cache --exclude=./var/lib/apt/lists -cf "$tar.$$" .
        mv "$tar.$$" "$tar"
    fi
    scratch_image localhost/debian:bookworm add "$tar" /
}

# An image of one layer: IMAGE, then a command of buildah and its arguments after the container.
scratch_image() {
    local image=$1 verb=$2 container
    shift 2
    container=$(buildah from scratch)
    buildah "$verb" -q "$container" "$@" >/dev/null
    buildah commit -q --timestamp 0 --rm "$container" "$image" >/dev/null
}

# What stage `build` of the Dockerfile would leave in /out.
built() {
    mkdir -p "$work/out/libtorch/lib"
    for name in $names; do strip -o "$work/out/mixnn-$name" "$root/target/$profile/mixnn-$name"; done
    cp -P "${LIBTORCH:-$root/.cache/libtorch}"/lib/*.so* "$work/out/libtorch/lib/"
    scratch_image localhost/mixnn-built:"$profile" copy "$work/out" /out
}

base
built
for name in $names; do
    buildah build -q --layers --timestamp 0 --file "$root/docker/Dockerfile" --target "$name" \
        --build-arg BUILT=localhost/mixnn-built:"$profile" --build-arg BASE=localhost/debian:bookworm \
        --build-arg RUST=localhost/debian:bookworm \
        --tag "localhost/mixnn-$name:$profile" "$root" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    rm -f "$out/$name.tar"
    buildah push -q "localhost/mixnn-$name:$profile" "docker-archive:$out/$name.tar:localhost/mixnn-$name:$profile"
    say "$name ($profile): $(buildah images --format '{{.Size}}' "localhost/mixnn-$name:$profile")"
done
# What these images replaced.
buildah rmi --prune >/dev/null 2>&1 || true
