"""What is sent to an API server, and what is left out."""

from __future__ import annotations

from tests.k8s.dry_run import sources, split


def test_every_overlay_and_the_chart_are_sent() -> None:
    found = sources()
    assert {"overlay dev", "overlay production", "chart"} <= found.keys()
    assert all(objects for objects in found.values())


def test_kinds_that_the_cluster_does_not_have_are_left_out_and_named() -> None:
    service = {"apiVersion": "v1", "kind": "Service"}
    kafka = {"apiVersion": "kafka.strimzi.io/v1", "kind": "Kafka"}
    assert split([service, kafka, kafka], {"v1", "apps/v1"}) == ([service], ["kafka.strimzi.io/v1 Kafka"])
