#!/bin/sh
# Builds an image without Docker's daemon, over a Debian root in place of the base image, and looks at what is in it:
#
#     docker/check.sh cpu [OPTION OF buildah build ...]
#
# Needs root and Debian's buildah and debootstrap. CHECK names a folder for the Debian root and the layers, some
# gigabytes (/tmp/cion-check); what is there is taken as it is.
set -eu
kind=$1
shift
folder=${CHECK:-/tmp/cion-check}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$folder"

buildah() {
    command buildah --storage-driver vfs --root "$folder/storage" --runroot "$folder/run" "$@"
}

inside() {
    buildah run --isolation chroot "$container" -- "$@"
}

fail() {
    echo "check: $*" >&2
    exit 1
}

# The base: Debian's Python where python:3.11-slim-bookworm has one of its own.
if ! buildah inspect --type image base >/dev/null 2>&1; then
    if [ ! -d "$folder/root" ]; then
        rm -rf "$folder/half" # of a debootstrap that was interrupted
        debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip bookworm "$folder/half"
        mv "$folder/half" "$folder/root"
    fi
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/root" / >/dev/null
    buildah commit --quiet --rm "$container" base >/dev/null
fi

buildah build --isolation chroot --build-arg BASE=localhost/base --file "$here/docker/Dockerfile.$kind" \
    --tag "cion-$kind" "$@" "$here"

container=$(buildah from "cion-$kind")
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")

[ "$(inside id -u)" != 0 ] || fail "processes run as root"
inside cion --help >/dev/null || fail "cion does not start"
[ "$(buildah inspect --type image --format '{{index .OCIv1.Config.Entrypoint 0}}' "cion-$kind")" = cion ] ||
    fail "the entry point is not cion"
for left in /usr/bin/gcc /usr/bin/cc /home/cion/.cache /build; do
    [ ! -e "$root$left" ] || fail "$left was left in the image"
done
[ -z "$(find "$root" -xdev -path '*/.cache/pip')" ] || fail "pip's cache was left in the image"
[ -z "$(find "$root/var/lib/apt/lists" -type f)" ] || fail "apt's lists were left in the image"

base=$(buildah from base)
megabytes() { du --summarize --block-size=1M "$1" | cut -f1; }
echo "cion-$kind: $(megabytes "$root") MB unpacked: base $(megabytes "$(buildah mount "$base")")," \
    "packages $(megabytes "$root/opt/venv"), code $(megabytes "$root/opt/cion")"
buildah rm "$base" >/dev/null
