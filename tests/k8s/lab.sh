#!/bin/sh
# Everything on a Kubernetes of its own on this machine: builds the images, brings the lab up, runs the cases, ends it.
# Run by `make k8s-lab`; K8SLAB_DIR is the folder of the lab's scripts (get.sh, up.sh, image.sh, node.sh, down.sh).
#   K8SLAB  where its programs and data are (/tmp/k8slab)      CASES  all, or names      KEEP=1  leaves it running
set -eu

say() { printf '%s\n' "$*" >&2; }

if [ ! -x "${K8SLAB_DIR:-}/up.sh" ]; then
    say "K8SLAB_DIR does not name a lab: a folder with get.sh, up.sh, image.sh, node.sh and down.sh, which make a"
    say "Kubernetes with real nodes on this machine. With a cluster of another kind: make k8s-test KUBECONFIG=…"
    exit 2
fi
K8SLAB=${K8SLAB:-/tmp/k8slab}
export K8SLAB
PATH=$K8SLAB/bin:$PATH
BASE=python:3.11-slim-bookworm
STORE="--storage-driver overlay --root $K8SLAB/storage --runroot $K8SLAB/storage-run"
IMAGE=tidings:$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)

[ -x "$K8SLAB/bin/kube" ] || "$K8SLAB_DIR/get.sh" core
# For the autoscaler's metrics: Debian's own Prometheus is built without the discovery of pods, and finds none.
[ -x "$K8SLAB/bin/prometheus" ] || "$K8SLAB_DIR/get.sh" prom3
# shellcheck disable=SC2086  # flags are words
buildah $STORE inspect --type image "docker.io/library/$BASE" >/dev/null 2>&1 || "$K8SLAB_DIR/image.sh" base "$BASE"

say "== images"
ENGINE=buildah ENGINE_FLAGS=$STORE IMAGE=docker.io/library/$IMAGE \
    BUILD_FLAGS="--isolation chroot --network host --pull-never --volume /etc/ssl/certs:/etc/ssl/certs:ro" \
    sh deploy/image/build.sh
"$K8SLAB_DIR/image.sh" load "$IMAGE"
.venv/bin/python -m tests.k8s.place.images build/k8s/images | while IFS="$(printf '\t')" read -r name tag signal packages; do
    [ -e "$K8SLAB/images/docker.io_$(echo "$tag" | tr '/:' '__').tar" ] && continue
    "$K8SLAB_DIR/image.sh" build "$tag" "build/k8s/images/$name" \
        --build-arg "SIGNAL=$signal" --build-arg "PACKAGES=$packages" </dev/null
    "$K8SLAB_DIR/image.sh" load "$tag" </dev/null
done

say "== the lab"
"$K8SLAB_DIR/up.sh" --real 2 --prometheus default
[ -n "${KEEP:-}" ] || trap '"$K8SLAB_DIR/down.sh"' EXIT
say "== manifests, as the API server takes them"
KUBECONFIG=$K8SLAB/kubeconfig KUBECTL=$K8SLAB/bin/kubectl .venv/bin/python -m tests.k8s.dry_run
say "== the cases"
KUBECONFIG=$K8SLAB/kubeconfig KUBECTL=$K8SLAB/bin/kubectl \
    .venv/bin/python -m tests.k8s --lab "$K8SLAB_DIR" --image "$IMAGE" --cases "${CASES:-all}" ${ARGS:-}
