"""Every overlay has the fields and types of Kubernetes' API, strictly, for the oldest and newest version.

The schemas hold no values: a wrong enum, quantity, name or bound passes here. An API server's dry run knows them
(`make k8s-dry-run`, part of `make k8s-lab`).
"""

from __future__ import annotations

from collections.abc import Iterator

import kubernetes_validate
import pytest

from tests.deploy.rendering import (
    OVERLAYS,
    OVERLAYS_FOLDER,
    ROOT,
    WORKLOADS,
    Object,
    containers,
    of_kind,
    rendered,
    title,
)

VERSIONS = ("1.31", "1.37")
# Kinds of operators, whose schemas are not Kubernetes' own.
OPERATORS = {
    "cert-manager.io/v1": {"Certificate", "Issuer"},
    "external-secrets.io/v1": {"ExternalSecret"},
    "kafka.strimzi.io/v1": {"Kafka", "KafkaNodePool"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "mongodbcommunity.mongodb.com/v1": {"MongoDBCommunity"},
    "monitoring.coreos.com/v1": {"PodMonitor", "PrometheusRule"},
}
COMPONENTS = sorted(path.parent.name for path in (ROOT / "deploy/k8s/components").glob("*/kustomization.yaml"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_the_schema_of_its_kind(overlay: str, version: str) -> None:
    for found in rendered(overlay):
        if found["kind"] in OPERATORS.get(found["apiVersion"], ()):
            continue
        kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_object_stands_there_twice(overlay: str) -> None:
    titles = [title(found) for found in rendered(overlay)]
    assert len(titles) == len(set(titles))


def test_every_component_is_part_of_an_overlay() -> None:
    used = "".join(path.read_text() for path in OVERLAYS_FOLDER.glob("*/kustomization.yaml"))
    assert [name for name in COMPONENTS if f"components/{name}\n" not in used] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_selects_the_pods_of_one_workload_at_least(overlay: str) -> None:
    objects = rendered(overlay)
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in of_kind(objects, *WORKLOADS)]
    for found, selector in _selectors(objects):
        assert any(selector.items() <= each.items() for each in labels), f"{title(found)} selects nothing"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_named_port_is_a_port_of_the_pods_it_is_meant_for(overlay: str) -> None:
    objects = rendered(overlay)
    ports = {port["name"] for each in containers(objects) for port in each.spec.get("ports", ())}
    for service in of_kind(objects, "Service"):
        wanted = {port["targetPort"] for port in service["spec"]["ports"] if isinstance(port["targetPort"], str)}
        assert wanted <= ports, title(service)
    for policy in of_kind(objects, "NetworkPolicy"):
        rules = policy["spec"].get("ingress", ())
        wanted = {port["port"] for rule in rules for port in rule.get("ports", ()) if isinstance(port["port"], str)}
        assert wanted <= ports, title(policy)


def _selectors(objects: tuple[Object, ...]) -> Iterator[tuple[Object, dict[str, str]]]:
    for found in of_kind(objects, "Service"):
        yield found, found["spec"]["selector"]
    for found in of_kind(objects, "PodDisruptionBudget", "NetworkPolicy"):
        spec = found["spec"]
        yield found, spec.get("selector", spec.get("podSelector", {})).get("matchLabels", {})


def test_the_small_cluster_is_reached_by_a_forwarded_port() -> None:
    """`kubectl port-forward` connects to the pod's own loopback, not to its address."""
    access = next(each.spec for each in containers(rendered("dev")) if each.spec["name"] == "access")
    told = {each["name"]: each.get("value", "") for each in access["env"]}
    assert told["TIDINGS_WS_LISTEN"] == "0.0.0.0:8000"
    assert told["TIDINGS_TCP_LISTEN"] == "0.0.0.0:8100"
    assert told["TIDINGS_WS_PUBLIC"] == "ws://127.0.0.1:8000/v1/ws"
    assert told["TIDINGS_TCP_PUBLIC"] == "127.0.0.1:8100"
