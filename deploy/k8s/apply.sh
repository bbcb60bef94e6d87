#!/bin/sh
# Applies an overlay to the cluster of KUBECONFIG and waits until it runs: apply.sh FOLDER. Run by `make deploy`.
set -eu

say() { printf '%s\n' "$*" >&2; }

KUBECTL=${KUBECTL:-.venv/bin/kubectl}
OVERLAY=$1
if [ ! -f "$OVERLAY/kustomization.yaml" ]; then
    say "$OVERLAY is no overlay; there are: $(echo deploy/k8s/overlays/*/)"
    exit 2
fi
if ! "$KUBECTL" version >/dev/null 2>&1; then
    say "No cluster answers: set KUBECONFIG to one, or try \`$KUBECTL version\` to see why."
    say "What would be applied: $KUBECTL kustomize $OVERLAY"
    exit 1
fi
NAMESPACE=$("$KUBECTL" kustomize "$OVERLAY" | sed -n 's/^  namespace: //p' | head -n 1)
# A job cannot be changed: those of the last time go first.
"$KUBECTL" -n "$NAMESPACE" delete job -l app.kubernetes.io/part-of=tidings --ignore-not-found >/dev/null 2>&1 || true
"$KUBECTL" apply --server-side -k "$OVERLAY"
for workload in deployment/storage deployment/logic statefulset/access; do
    "$KUBECTL" -n "$NAMESPACE" rollout status "$workload" --timeout=15m
done
