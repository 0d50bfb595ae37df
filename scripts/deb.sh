# Sourced by what needs a program or library of a Debian package without installing it: `unpack PACKAGE` brings it once
# into ~/.cache/mixnn/PACKAGE, which $folder says. Needs apt-get, dpkg-deb and flock, no root.
# shellcheck shell=bash

unpack() {
    folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/$1
    mkdir -p "$folder"
    exec 9>"$folder.lock"
    flock 9
    if [ ! -e "$folder/usr" ]; then
        # Chained, since callers may handle a failure, which turns -e off here.
        (cd "$folder" && rm -rf "$1"_*.deb unpacked &&
            { apt-get download --quiet "$1" >&2 || { apt-get update --quiet >&2 && apt-get download --quiet "$1" >&2; }; } &&
            dpkg-deb --extract "$1"_*.deb unpacked && rm "$1"_*.deb && mv unpacked/usr .) || return 1
    fi
    exec 9>&-
}
