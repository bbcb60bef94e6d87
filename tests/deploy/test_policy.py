"""What every pod of every overlay must be: unprivileged, bounded, probed, alone unless it is allowed to talk."""

from __future__ import annotations

import re

import pytest

from tests.deploy.rendering import (
    OVERLAYS,
    WORKLOADS,
    Container,
    Object,
    containers,
    named,
    of_kind,
    pod_of,
    rendered,
    title,
)

EVERY = [
    pytest.param(container, id=f"{overlay} {container.title}")
    for overlay in OVERLAYS
    for container in containers(rendered(overlay))
]
SERVING = [
    pytest.param(container, id=f"{overlay} {container.title}")
    for overlay in OVERLAYS
    for container in containers(rendered(overlay))
    if container.workload["kind"] != "Job" and not container.init
]
PODS = [
    pytest.param(workload, id=f"{overlay} {title(workload)}")
    for overlay in OVERLAYS
    for workload in of_kind(rendered(overlay), *WORKLOADS)
]
NODES = ("access", "logic", "storage")


@pytest.mark.parametrize("container", EVERY)
def test_a_container_runs_without_rights(container: Container) -> None:
    security = container.spec["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in security


@pytest.mark.parametrize("workload", PODS)
def test_a_pod_is_what_the_restricted_standard_allows(workload: Object) -> None:
    pod = pod_of(workload)
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] >= 10_000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
    for volume in pod.get("volumes", ()):
        assert set(volume) - {"name"} <= allowed, volume["name"]


@pytest.mark.parametrize("workload", PODS)
def test_a_pod_has_an_account_of_its_own_without_a_token(workload: Object) -> None:
    pod = pod_of(workload)
    assert pod["serviceAccountName"] != "default"
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_gets_rights_in_the_cluster(overlay: str) -> None:
    objects = rendered(overlay)
    assert not list(of_kind(objects, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"))
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(objects, "ServiceAccount"))


@pytest.mark.parametrize("container", EVERY)
def test_a_container_says_what_it_needs_and_has_a_limit_of_memory(container: Container) -> None:
    resources = container.spec["resources"]
    assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["requests"])
    assert {"memory", "ephemeral-storage"} <= set(resources["limits"])
    # Throttling stops an event loop for tens of milliseconds at a time.
    assert "cpu" not in resources["limits"]


@pytest.mark.parametrize("container", EVERY)
def test_an_image_has_a_version(container: Container) -> None:
    name, _, tag = container.spec["image"].rpartition(":")
    assert name
    assert re.search(r"\d", tag)
    assert tag != "latest"


@pytest.mark.parametrize("container", SERVING)
def test_a_container_that_serves_is_probed(container: Container) -> None:
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container.spec)


@pytest.mark.parametrize("container", SERVING)
def test_a_node_is_not_killed_for_what_is_away(container: Container) -> None:
    if container.spec["name"] not in NODES:
        return
    liveness = container.spec["livenessProbe"]
    assert liveness["httpGet"]["path"] == "/healthz"  # of the process alone; /readyz knows the backends
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60
    assert container.spec["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("container", EVERY)
def test_no_secret_is_written_down(container: Container) -> None:
    for variable in container.spec.get("env", ()):
        if re.search(r"URI|PASSWORD|SECRET|TOKEN", variable["name"]) and not variable["name"].endswith("_FILE"):
            assert "secretKeyRef" in variable["valueFrom"], variable["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_no_secret_among_the_objects(overlay: str) -> None:
    assert not list(of_kind(rendered(overlay), "Secret"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_allowed_that_is_not_named(overlay: str) -> None:
    policy = named(rendered(overlay), "NetworkPolicy", "default-deny")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_port_without_a_login_is_only_for_prometheus(overlay: str) -> None:
    opening = [
        policy["metadata"]["name"]
        for policy in of_kind(rendered(overlay), "NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        if not rule.get("ports") or any(port["port"] in ("ops", 8200) for port in rule["ports"])
    ]
    assert opening == ["monitoring"]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("kind", NODES)
def test_a_kind_of_node_is_spread_budgeted_and_comes_first(overlay: str, kind: str) -> None:
    objects = rendered(overlay)
    workload = next(found for found in of_kind(objects, *WORKLOADS) if found["metadata"]["name"] == kind)
    pod = pod_of(workload)
    assert named(objects, "PodDisruptionBudget", kind)["spec"]["maxUnavailable"] == 1
    keys = {constraint["topologyKey"] for constraint in pod["topologySpreadConstraints"]}
    assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert pod["affinity"]["podAntiAffinity"]
    assert pod["priorityClassName"] == "tidings-node"
    assert workload["spec"].get("replicas", 2) >= 2


@pytest.mark.parametrize("workload", PODS)
def test_pods_of_a_new_version_are_spread_among_themselves(workload: Object) -> None:
    """Else the old ones, which leave, decide where the new ones go: seen to put all of them on one machine."""
    if workload["kind"] != "Deployment":
        return
    pod = pod_of(workload)
    apart = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    for term in (*pod["topologySpreadConstraints"], *(each["podAffinityTerm"] for each in apart)):
        assert term["matchLabelKeys"] == ["pod-template-hash"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_takes_only_restricted_pods(overlay: str) -> None:
    labels = named(rendered(overlay), "Namespace", "tidings")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_where_an_autoscaler_counts_nobody_else_does(overlay: str) -> None:
    if not overlay.startswith("production"):
        return
    objects = rendered(overlay)
    scaled = {
        found["spec"]["scaleTargetRef"]["name"] for found in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    }
    assert scaled == set(NODES)
    for name in scaled:
        workload = next(found for found in of_kind(objects, *WORKLOADS) if found["metadata"]["name"] == name)
        assert "replicas" not in workload["spec"], name
