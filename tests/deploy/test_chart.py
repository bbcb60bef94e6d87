"""The Helm chart is the manifests of deploy/k8s: made from them, and the same objects when Helm renders it."""

from __future__ import annotations

import copy
import re
import subprocess
from typing import Any

import pytest

from tests.deploy import helm
from tools.make import chart


def test_the_chart_was_made_from_the_manifests_of_today() -> None:
    assert chart.main(["check"]) == 0


def test_helm_finds_nothing_to_criticise() -> None:
    assert helm.lint(chart.CHART) == []


def test_values_that_break_a_template_are_refused_by_helm() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        helm.rendered(chart.CHART, {"image": "tidings:2.0"})


def test_its_objects_are_those_of_the_manifests() -> None:
    assert _by_title(helm.rendered(chart.CHART, {})) == _by_title(chart.manifests())


def test_a_value_reaches_its_object() -> None:
    objects = _by_title(helm.rendered(chart.CHART, {"replicas": {"access": 7}, "image": {"tag": "2.0"}}))
    assert objects["StatefulSet access"]["spec"]["replicas"] == 7
    container = objects["Deployment logic"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "tidings:2.0"


def test_without_the_edge_there_is_none() -> None:
    objects = _by_title(helm.rendered(chart.CHART, {"edge": {"enabled": False}}))
    assert not [title for title in objects if title.endswith("edge")]
    assert "StatefulSet access" in objects


def test_a_changed_environment_changes_the_pods() -> None:
    def checksum(given: dict[str, Any]) -> str:
        pods = next(found for found in helm.rendered(chart.CHART, given) if found["kind"] == "StatefulSet")["spec"][
            "template"
        ]
        return str(pods["metadata"]["annotations"]["checksum/environment"])

    assert checksum({}) != checksum({"environment": {"TIDINGS_CLUSTER": "another"}})


def _by_title(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"{found['kind']} {found['metadata']['name']}": _without_helms_own(found) for found in objects}


def _without_helms_own(found: dict[str, Any]) -> dict[str, Any]:
    """But for what only Helm needs: its hooks, and checksums in the place of the names that kustomize changes."""
    made = copy.deepcopy(found)
    for metadata in (made["metadata"], made.get("spec", {}).get("template", {}).get("metadata", {})):
        annotations = metadata.get("annotations", {})
        kept = {name: value for name, value in annotations.items() if not re.match(r"helm\.sh/|checksum/", name)}
        metadata.pop("annotations", None)
        if kept:
            metadata["annotations"] = kept
    return made
