"""A Prometheus of one's own for a local cluster: with the rules and the kind of targets that the real one has.

    with watching(targets, folder) as prometheus:
        prometheus.query("up")

Targets get the labels that the rules and dashboards count on: `cluster`, `job` (tidings-KIND), `instance` (the node's
name). It listens on loopback, keeps its data in the folder, and ends with the context.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tools.cli.failure import Failure
from tools.make.monitoring.programs import Programs

READY_S = 30.0
ANSWER_S = 30.0
STOP_S = 10.0
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Target:
    kind: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str
    http: httpx2.Client

    def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer; raises Failure with what Prometheus said."""
        answer = self.http.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        if answer["status"] != "success":
            raise Failure(f"Prometheus refused {parameters}: {answer.get('error')}", "See its log.")
        return answer["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The vector that an expression gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=expr)["result"]
        return found

    def query_range(self, expr: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(
            "query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step_s:g}"
        )["result"]
        return found

    def exemplars(self, expr: str) -> list[dict[str, Any]]:
        """Exemplars of the last ten minutes: one entry for each series that has some."""
        now = time.time()
        found: list[dict[str, Any]] = self.ask(
            "query_exemplars", query=expr, start=f"{now - 600:.3f}", end=f"{now:.3f}"
        )
        return found


def targets_of(status: Mapping[str, Any]) -> list[Target]:
    """The nodes in what `tidings status --json` says."""
    return [
        Target(kind, node["name"], node["ops"].removeprefix("http://"))
        for kind in ("access", "logic", "storage")
        for node in status[kind]
        if node["state"] == "ready"
    ]


def configuration(targets: Sequence[Target], cluster: str, rules: Sequence[Path], interval_s: float) -> dict[str, Any]:
    """The configuration as deploy/prometheus/prometheus.yaml has it."""
    interval = f"{round(interval_s * 1000)}ms"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(rule) for rule in rules],
        "scrape_configs": [
            {
                "job_name": f"tidings-{kind}",
                "static_configs": [
                    {"targets": [target.address], "labels": {"instance": target.name, "cluster": cluster}}
                    for target in targets
                    if target.kind == kind
                ],
            }
            for kind in ("access", "logic", "storage")
        ],
    }


@contextmanager
def watching(
    programs: Programs,
    targets: Sequence[Target],
    folder: Path,
    rules: Sequence[Path],
    *,
    cluster: str = "local",
    interval_s: float = 1.0,
) -> Iterator[Prometheus]:
    """Ready when entered. Raises Failure if it does not start."""
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "prometheus.yaml", folder / "prometheus.txt"
    # The rules' own intervals are made for a cluster that runs for days: here they follow the scrapes.
    quick = [_hurried(rule, folder, interval_s) for rule in rules]
    config.write_text(yaml.safe_dump(configuration(targets, cluster, quick, interval_s)), encoding="utf-8")
    port = _free_port()
    command = [
        programs.prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        with httpx2.Client(timeout=ANSWER_S, trust_env=False) as http:
            prometheus = Prometheus(f"http://{HOST}:{port}", http)
            _await_ready(prometheus, process, log)
            yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _hurried(rule: Path, folder: Path, interval_s: float) -> Path:
    content = yaml.safe_load(rule.read_text(encoding="utf-8"))
    for group in content["groups"]:
        group["interval"] = f"{round(interval_s * 1000)}ms"
    copy = folder / rule.name
    copy.write_text(yaml.safe_dump(content), encoding="utf-8")
    return copy


def _await_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if prometheus.http.get(f"{prometheus.url}/-/ready").status_code == httpx2.codes.OK:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise Failure(f"Prometheus did not start: {log.read_text(errors='replace')[-500:]}", "See above.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
