# Sourced by what needs packages of PyPI: `fetch NAME PIN..` brings them once into ~/.cache/mixnn/NAME, which $folder
# says, and ends the caller with 3 where they cannot be had. Needs python3 with pip, and flock.
# shellcheck shell=bash

fetch() {
    folder=${MIXNN_CACHE:-$HOME/.cache/mixnn}/$1
    mkdir -p "$(dirname "$folder")"
    exec 9>"$folder.lock"
    flock 9
    if [ ! -e "$folder/complete" ]; then
        rm -rf "$folder"
        python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "${@:2}" >&2 || exit 3
        touch "$folder/complete"
    fi
    exec 9>&-
}
