"""The client's wheel in an empty environment: what a bot's author installs is enough to talk to a cluster."""

from __future__ import annotations

import asyncio
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

from tests.distributions import CLIENT, build, environment, install, lend, packages_of, requirements_of
from tests.e2e.cluster import Cluster
from tidings import Client

PATIENCE_S = 120.0  # a process starts slowly on a busy machine


def alone(folder: Path) -> Path:
    """The Python of an environment with the client's wheel, what the wheel asks for, and nothing else."""
    wheel = build(CLIENT, folder / "wheel")
    python = environment(folder / "env")
    for requirement in requirements_of(wheel):
        lend(requirement.name, folder / "env")
    install(python, wheel)
    assert len(list(packages_of(folder / "env").glob("*.dist-info"))) <= 1 + 5
    absent = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('services', 'tidings_server', 'grpc'))))"
    for code in (absent, "import tidings"):
        assert subprocess.run([python, "-c", code], cwd=folder, env={}, check=False).returncode == 0, code
    return python


async def test_hello_runs_by_the_wheel_alone(cluster: Cluster, name: Callable[[str], str], tmp_path: Path) -> None:
    python = await asyncio.to_thread(alone, tmp_path)
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONWARNINGS": "error"}
    ann, bob = name("ann"), name("bob")
    url = next(iter(cluster.access().values())).ws
    async with Client(url, token=cluster.token(bob)) as other:
        hello = await asyncio.create_subprocess_exec(
            python, CLIENT / "examples" / "hello.py", url, cluster.token(ann), bob, "hi Bob",
            cwd=tmp_path, env=bare, stdout=PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE_S):
                question = await anext(other.messages())
                assert (question.sender, question.text) == (ann, "hi Bob")
                await other.send(question.conversation, "hi Ann")
                told, _ = await hello.communicate()
        finally:
            if hello.returncode is None:
                hello.kill()
                await hello.wait()
    assert told.decode().splitlines() == [f"stored as number 1 of {question.conversation}", f"{bob}: hi Ann"]
    assert hello.returncode == 0
