#!/usr/bin/env bash
# Prints where libfaketime is, which gives tests a clock that jumps (https://github.com/wolfcw/libfaketime, GPL-2.0:
# loaded into processes of tests alone, never linked or shipped).
#
# Fetched once into ~/.cache/mixnn from Debian; needs apt-get and flock, no root.
set -euo pipefail
. "$(dirname "$0")/deb.sh"

unpack libfaketime
found=$(find "$folder" -name libfaketimeMT.so.1 -print -quit)
[ -n "$found" ] || { echo "libfaketime's package has no libfaketimeMT.so.1" >&2; exit 1; }
echo "$found"
