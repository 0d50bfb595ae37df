#!/usr/bin/env bash
# Prints where libfaketime is, which gives tests a clock that jumps (https://github.com/wolfcw/libfaketime, GPL-2.0:
# loaded into processes of tests alone, never linked or shipped).
#
# Fetched once into ~/.cache/mixnn from Debian; needs apt-get and flock, no root.
set -euo pipefail

folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/faketime
mkdir -p "$folder"
exec 9>"$folder.lock"
flock 9
library() { find "$folder" -name libfaketimeMT.so.1 -print -quit; }
if [ -z "$(library)" ]; then
    cd "$folder"
    apt-get download --quiet libfaketime >&2 || { apt-get update --quiet >&2 && apt-get download --quiet libfaketime >&2; }
    dpkg-deb --extract libfaketime_*.deb .
fi
found=$(library)
[ -n "$found" ] || { echo "libfaketime's package has no libfaketimeMT.so.1" >&2; exit 1; }
echo "$found"
