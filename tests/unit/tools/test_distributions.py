"""What the two wheels bring into somebody's environment, and that the server runs from its own."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.distributions import CLIENT, ROOT, build, environment, install, metadata_of, names_in, requirements_of

# How a distribution is imported.
IMPORTED = {"google": "protobuf", "websockets": "websockets", "xxhash": "xxhash", "msgspec": "msgspec"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CLIENT, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, client: Path, server: Path) -> Path:
    """The Python of an environment with both wheels; what they ask for it sees, but nothing of this checkout."""
    sees = tuple(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    python = environment(tmp_path_factory.mktemp("both") / "env", sees=sees)
    install(python, client, server)
    return python


def project(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


def run(*command: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **variables},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def top_names(wheel: Path) -> set[str]:
    return {name.partition("/")[0] for name in names_in(wheel) if ".dist-info/" not in name}


def test_the_client_brings_its_two_packages_and_their_types(client: Path) -> None:
    assert top_names(client) == {"tidings", "tidings_protocol"}
    assert {"tidings/py.typed", "tidings_protocol/py.typed"} <= set(names_in(client))
    assert not [name for name in names_in(client) if "internal" in name or "examples" in name]


def test_the_client_asks_for_few_things_and_none_of_the_server(client: Path) -> None:
    assert {requirement.name for requirement in requirements_of(client)} == {"protobuf", "websockets", "xxhash"}


def test_the_client_says_what_it_is(client: Path) -> None:
    told = metadata_of(client)
    assert told["Name"] == "tidings-client"
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "Apache-2.0"
    assert told.get_all("License-File") == ["LICENSE"]
    assert "async with Client(" in str(told.get_payload())
    versions = {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)}
    assert versions <= set(told.get_all("Classifier", []))
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_client_imports_only_what_it_asks_for() -> None:
    known = {"tidings", "tidings_protocol", *sys.stdlib_module_names}
    imported: set[str] = set()
    for path in sorted(CLIENT.glob("tidings*/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    told = project(CLIENT)
    asked = {Requirement(line).name for line in [*told["dependencies"], *told["optional-dependencies"]["speed"]]}
    assert {IMPORTED[name] for name in imported - known} == asked


@pytest.mark.parametrize("folder", [CLIENT, ROOT], ids=["client", "server"])
def test_protobuf_is_no_older_than_what_generated_the_code(folder: Path) -> None:
    code = (CLIENT / "tidings_protocol" / "client_pb2.py").read_text()
    (version,) = re.findall(r"^# Protobuf Python Version: (\S+)$", code, re.MULTILINE)
    made_by = Version(version)
    (asked,) = [line for line in project(folder)["dependencies"] if line.startswith("protobuf")]
    # protobuf refuses code of a newer version, and reads that of the major version before its own.
    assert asked == f"protobuf>={made_by},<{made_by.major + 2}"


def test_the_server_brings_one_name_of_its_own(server: Path) -> None:
    assert top_names(server) == {"tidings_server"}
    inside = {"/".join(name.split("/")[1:3]) for name in names_in(server)}
    assert {"tools/cli", "tools/bench", "services/access", "services/logic", "services/storage"} <= inside


def test_what_only_makers_run_is_not_in_the_server(server: Path) -> None:
    assert not [name for name in names_in(server) if re.search(r"/(make|released|tests)/", name)]


def test_the_server_asks_for_the_client_of_its_version(server: Path) -> None:
    (client,) = [requirement for requirement in requirements_of(server) if requirement.name == "tidings-client"]
    assert str(client.specifier) == f"=={project(CLIENT)['version']}"
    assert project(ROOT)["version"] == project(CLIENT)["version"]


def test_the_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    outcome = run(installed.with_name("tidings"), "--help", folder=tmp_path, COLUMNS="200")
    assert outcome.returncode == 0, outcome.stderr
    assert " up " in outcome.stdout
    assert " bench " in outcome.stdout


@pytest.mark.parametrize("service", ["access", "logic", "storage"])
def test_an_installed_node_runs_by_the_name_it_has_in_the_image(installed: Path, tmp_path: Path, service: str) -> None:
    outcome = run(installed, "-m", "tidings_server", f"services.{service}", folder=tmp_path)
    assert f"tidings {service}: TIDINGS_NODE: must be given" in outcome.stderr


def test_the_names_of_its_folders_are_seen_only_by_who_imports_the_server(installed: Path, tmp_path: Path) -> None:
    assert "No module named 'services'" in run(installed, "-c", "import services", folder=tmp_path).stderr
    shown = run(
        installed, "-c", "import tidings_server, services.logic.app as a, tidings as c; print(a.__file__, c.__file__)",
        folder=tmp_path,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    service, client = shown.stdout.split()
    assert "/site-packages/tidings_server/services/logic/" in service
    assert service.startswith(str(installed.parents[1]))
    assert client.startswith(str(installed.parents[1]))
