"""Every node of every overlay gets settings that its own code accepts, under its profile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.common.settings.node import NodeSettings
from services.common.settings.sources import load, settings_class
from tests.deploy.environment import lay_files, moved, variables
from tests.deploy.rendering import OVERLAYS, Container, containers, rendered, title

SERVICE = re.compile(r"services\.(access|logic|storage)(\.prepare)?")
ENDING_S = 5  # what a node takes after its drain, at most
NODES = [
    pytest.param(overlay, container, id=f"{overlay} {container.title}")
    for overlay in OVERLAYS
    for container in containers(rendered(overlay))
    if container.spec["image"].rpartition("/")[2].startswith("tidings:") and container.spec.get("args")
]


def _settings(overlay: str, container: Container, folder: Path) -> NodeSettings:
    objects = rendered(overlay)
    lay_files(container, objects, folder)
    found = SERVICE.fullmatch(container.spec["args"][0])
    assert found, f"{container.title} starts {container.spec['args']}"
    environment = {name: moved(value, folder) for name, value in variables(container, objects).items()}
    return load(settings_class(found[1]), environment)


@pytest.mark.parametrize(("overlay", "container"), NODES)
def test_a_node_accepts_what_its_pod_tells_it(overlay: str, container: Container, tmp_path: Path) -> None:
    settings = _settings(overlay, container, tmp_path)
    assert "$(" not in repr(settings)


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if name.startswith("production")])
def test_production_runs_under_the_profile_of_production(overlay: str, tmp_path: Path) -> None:
    for number, container in enumerate(containers(rendered(overlay))):
        if container.spec.get("args"):
            assert _settings(overlay, container, tmp_path / str(number)).profile == "production"


@pytest.mark.parametrize(("overlay", "container"), NODES)
def test_a_pod_has_the_time_that_its_drain_takes(overlay: str, container: Container, tmp_path: Path) -> None:
    if container.workload["kind"] == "Job":
        assert "terminationGracePeriodSeconds" not in container.pod
        return
    settings = _settings(overlay, container, tmp_path)
    before_s = container.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace_s = container.pod["terminationGracePeriodSeconds"]
    assert grace_s >= before_s + settings.drain_deadline_s + ENDING_S, title(container.workload)


@pytest.mark.parametrize("overlay", ["production", "lab"])
def test_behind_the_edge_every_access_node_has_a_public_address_of_its_own(overlay: str, tmp_path: Path) -> None:
    container = next(each for each in containers(rendered(overlay)) if each.spec["name"] == "access")
    settings = _settings(overlay, container, tmp_path)
    told = settings.model_dump()
    assert told["placement"] == "ring"
    assert "/n/access-0/v1/ws" in told["ws_public"]
    assert told["tcp_public"] in {"access-0.chat.example.com:8444", "127.0.0.1:30100"}
