"""The parts of the tests on Kubernetes that need no cluster: which cases, which workloads are healthy, the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chaos.run import Result
from tests.deploy.rendering import containers, rendered
from tests.k8s import page
from tests.k8s.cases import CASES, chosen
from tests.k8s.images import RECIPES
from tests.k8s.site import KINDS, OVERLAY, ROOT, SECRETS, _not_ready

FIGURES = ROOT / "tools" / "bench" / "capacity" / "figures.json"
TOLD: dict[str, Any] = {"cluster": "Kubernetes v1.34.4", "machine": "2 cores", "rate": 60.0, "seed": 1}


def _told(result: Result) -> dict[str, Any]:
    return {**TOLD, "cases": [result.to_json()]}


def test_cases_are_chosen_by_name_and_a_wrong_name_is_told_with_those_there_are() -> None:
    assert chosen("all") == list(CASES)
    assert [case.name for case in chosen("scale, chat")] == ["scale", "chat"]
    with pytest.raises(ValueError, match="no case nothing; there are all, chat"):
        chosen("nothing")


def test_a_row_has_what_the_case_measured() -> None:
    result = Result("scale", "more and fewer", 1, healthy_s=3.21, details={"to_4_s": 20.4, "to_2_s": 31.0})
    row = page.table(_told(result)).splitlines()[-1]
    assert row.count("|") == len(page.TITLES) + 1
    assert "3.2 s" in row
    assert "to 4 nodes 20 s; to 2 nodes 31 s" in row


def test_a_case_that_failed_or_was_skipped_says_why_in_its_row() -> None:
    assert "failed: nobody came" in page.table(_told(Result("chat", "chat", 1, problem="nobody came")))
    assert "skipped: not ours" in page.table(_told(Result("power-cut", "cut", 1, skipped="not ours")))


def test_sizes_are_those_that_a_case_measured() -> None:
    size = {"nodes": 2, "memory_mib": 110, "cpu_cores": 0.25, "connections": 500, "messages_per_s": 80.0}
    result = Result("scale", "more", 1, details={"sizes": {"access": size, "storage": size}})
    assert "| access | 2 | 110 MiB | 0.25 cores |" in page.sizes(_told(result))
    assert page.sizes(_told(Result("scale", "more", 1))) == "Not measured."


def _workload(**status: int) -> dict[str, Any]:
    return {"metadata": {"name": "access", "generation": 3}, "spec": {"replicas": 2}, "status": status}


def test_a_workload_is_healthy_when_all_that_is_wanted_is_new_and_ready() -> None:
    whole = {"observedGeneration": 3, "readyReplicas": 2, "updatedReplicas": 2, "replicas": 2}
    assert _not_ready(_workload(**whole)) == ""
    for change in ({"readyReplicas": 1}, {"updatedReplicas": 1}, {"replicas": 3}, {"observedGeneration": 2}):
        assert _not_ready(_workload(**{**whole, **change}))


def test_every_image_that_the_lab_replaces_is_one_of_its_overlay() -> None:
    named = {each.spec["image"].rpartition(":")[0] for each in containers(rendered("lab"))}
    assert {recipe.replaces for recipe in RECIPES.values()} == named - {"tidings"}


def test_every_secret_that_the_lab_mounts_is_one_that_its_tests_make() -> None:
    pods = [each.pod for each in containers(rendered("lab"))]
    mounted = {each["secret"]["secretName"] for pod in pods for each in pod.get("volumes", ()) if "secret" in each}
    assert mounted <= SECRETS


def test_the_autoscaler_of_the_case_scales_a_workload_of_the_overlay() -> None:
    scaler = yaml.safe_load((OVERLAY / "hpa.yaml").read_text(encoding="utf-8"))
    target = scaler["spec"]["scaleTargetRef"]
    found = [each["metadata"]["name"] for each in rendered("lab") if each["kind"] == target["kind"]]
    assert target["name"] in found


def test_the_page_has_the_marks_that_a_run_writes_between() -> None:
    text = Path(page.PAGE).read_text(encoding="utf-8")
    for mark in (page.MARK, page.SIZES_MARK):
        assert f"<!-- {mark} -->" in text
        assert f"<!-- /{mark} -->" in text


@pytest.mark.parametrize("kind", KINDS)
def test_pods_ask_for_what_was_measured(kind: str) -> None:
    """For an access node with 10,000 connections, too; and not for many times as much."""
    row = next(line.split("|") for line in _between(page.SIZES_MARK).splitlines() if line.startswith(f"| {kind} |"))
    memory_mib, cores = float(row[3].split()[0]), float(row[4].split()[0])
    idle_bytes = json.loads(FIGURES.read_text(encoding="utf-8"))["idle_bytes"]["ws"]
    needed_mib = memory_mib + (10_000 * idle_bytes / 2**20 if kind == "access" else 0.0)
    # The overlay that changes no size of the base's.
    asked = next(each.spec for each in containers(rendered("dev")) if each.spec["name"] == kind)["resources"]
    assert 1.2 * needed_mib <= _mib(asked["requests"]["memory"]) <= 4 * needed_mib
    assert _mib(asked["limits"]["memory"]) >= 4 * needed_mib
    assert cores <= int(asked["requests"]["cpu"].removesuffix("m")) / 1000


def _between(mark: str) -> str:
    text = Path(page.PAGE).read_text(encoding="utf-8")
    return text.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]


def _mib(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]
