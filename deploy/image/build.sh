#!/bin/sh
# Builds the image with what is there: docker, podman or buildah. Run by `make image` from the root of the project.
#   IMAGE   its name and tag (tidings:VERSION)          BASE   the base image (python:3.11-slim-bookworm)
#   ENGINE  docker, podman or buildah: no search        ENGINE_FLAGS, BUILD_FLAGS   options before and after `build`
set -eu

say() { printf '%s\n' "$*" >&2; }

VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)
IMAGE=${IMAGE:-tidings:$VERSION}
BASE=${BASE:-python:3.11-slim-bookworm}

# A client without an engine behind it cannot build: the engine is asked.
works() {
    case $1 in
    docker | podman) command -v "$1" >/dev/null 2>&1 && "$1" info >/dev/null 2>&1 ;;
    buildah) command -v buildah >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

if [ -z "${ENGINE:-}" ]; then
    for candidate in docker podman buildah; do
        if works "$candidate"; then
            ENGINE=$candidate
            break
        fi
    done
elif ! works "$ENGINE"; then
    say "ENGINE is $ENGINE, which does not work here."
    exit 1
fi
if [ -z "${ENGINE:-}" ]; then
    say "Nothing here builds images: neither a docker or podman with its engine, nor buildah was found."
    say "Install one (on Debian and Ubuntu: apt install buildah), and try \`make image\` again."
    exit 1
fi

REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)
CREATED=$(git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ)
set -- -f deploy/Dockerfile -t "$IMAGE" --build-arg "BASE=$BASE" --build-arg "VERSION=$VERSION" \
    --build-arg "REVISION=$REVISION" --build-arg "CREATED=$CREATED" ${BUILD_FLAGS:-} .
say "Building $IMAGE on $BASE with $ENGINE …"
# shellcheck disable=SC2086  # flags are words
case $ENGINE in
buildah) exec buildah ${ENGINE_FLAGS:-} build --layers --format docker "$@" ;;
podman) exec podman ${ENGINE_FLAGS:-} build --layers --format docker "$@" ;;
*) exec docker ${ENGINE_FLAGS:-} build "$@" ;;
esac
