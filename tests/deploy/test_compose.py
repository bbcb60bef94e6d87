"""compose.yaml: the nodes' own code accepts their settings; nothing is reached from outside this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.common.settings.sources import load, settings_class
from tests.deploy.rendering import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
NODES = [
    name
    for name, service in COMPOSE["services"].items()
    if str(service.get("command", [""])[0]).startswith("services.")
]


def test_there_is_every_kind_of_node() -> None:
    assert {name.partition("-")[0] for name in NODES} == {"access", "logic", "storage"}


@pytest.mark.parametrize("name", NODES)
def test_a_node_accepts_its_settings(name: str, tmp_path: Path) -> None:
    service = COMPOSE["services"][name]
    for secret in service.get("secrets", ()):
        (tmp_path / secret).write_text("1f" * 32)
    environment = {
        key: str(value).replace("/run/secrets", str(tmp_path)) for key, value in service["environment"].items()
    }
    assert load(settings_class(service["command"][0].removeprefix("services.")), environment).node == name


@pytest.mark.parametrize("name", NODES)
def test_a_node_runs_without_rights_and_has_time_to_drain(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["stop_grace_period"] == "40s"  # the drain's deadline is 30


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_ports_are_on_loopback_and_images_have_a_version(name: str) -> None:
    service = COMPOSE["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert any(character.isdigit() for character in service["image"].rpartition(":")[2])


def test_every_file_that_is_mounted_is_there() -> None:
    mounts = [
        mount.partition(":")[0]
        for service in COMPOSE["services"].values()
        for mount in service.get("volumes", ())
        if mount.startswith("./compose/")
    ]
    assert mounts
    assert [mount for mount in mounts if not (ROOT / "deploy" / mount).is_file()] == []
