"""A running cluster under load, watched by a real Prometheus and a collector of traces: every query of every panel and
rule has an answer, exemplars lead to traces, and no series grows with the users.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.common.telemetry.metrics import LABELS
from tests.backends import clean_environment, free_port_base, stop_stack
from tests.e2e.collector import Collector, SeenSpan, collecting
from tidings import Client, Forbidden
from tools.cli.stack.folder import Folder
from tools.make.monitoring import programs, rules
from tools.make.monitoring.__main__ import RULES
from tools.make.monitoring.boards import BOARDS
from tools.make.monitoring.model import Alert, Query, Source
from tools.make.monitoring.promql import filled
from tools.make.monitoring.server import Prometheus, Target, targets_of, watching

pytestmark = pytest.mark.e2e

LOAD_S = 20.0
STEP_S = 5.0
SETTLE_S = 8.0  # scrapes and rule evaluations, and the exporters' own batches
SERIES_MAX = 2_500
VARIABLES = {"cluster": "local", "node": ".+", "__rate_interval": "20s"}
MARK = "zq"  # in the name of every user and group, and nowhere else
HOPS = {"send", "access send", "logic send", "store", "publish", "deliver"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass
class Watched:
    prometheus: Prometheus
    collector: Collector
    targets: list[Target]
    began: float

    def has_data(self, expr: str) -> bool:
        """Whether a graph of the time of the load would show a point."""
        series = self.prometheus.query_range(filled(expr, VARIABLES), self.began, time.time(), STEP_S)
        return any(value != "NaN" for each in series for _, value in each["values"])

    def complete(self) -> dict[str, list[SeenSpan]]:
        """Traces that show every hop."""
        return {key: spans for key, spans in self.collector.whole().items() if {span.name for span in spans} >= HOPS}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    found = programs.fetch()
    with collecting() as collector:
        environment = clean_environment() | {
            "TIDINGS_OTLP_ENDPOINT": collector.address,
            "TIDINGS_TRACE_SAMPLE_RATIO": "0.5",
        }
        data = folder / "data"
        try:
            _tidings(environment, data, "up", "--port-base", str(free_port_base()), "--detach")
            status = json.loads(_tidings(environment, data, "status", "--json"))
            targets = targets_of(status)
            with watching(found, targets, folder / "prometheus", sorted(RULES.glob("*.yaml"))) as prometheus:
                began = time.time()
                users = [f"{MARK}{number}" for number in range(8)]
                tokens = {
                    user: json.loads(_tidings(environment, data, "token", user, "--json"))["token"] for user in users
                }
                asyncio.run(_talk([node["ws"] for node in status["access"]], tokens))
                time.sleep(SETTLE_S)
                yield Watched(prometheus, collector, targets, began)
        finally:
            stop_stack(Folder.at(data))


def _queries() -> list[tuple[str, Query]]:
    return [
        (f"{board.title} · {panel.title} · {query.legend}", query)
        for board in BOARDS
        for panel in board.panels()
        for query in panel.queries
        if query.source is Source.PROMETHEUS
    ]


def test_every_query_of_every_panel_has_data_or_says_why_it_may_have_none(watched: Watched) -> None:
    queries = _queries()
    assert len(queries) > 100
    empty = [where for where, query in queries if not query.may_be_empty and not watched.has_data(query.expr)]
    assert empty == []


def test_every_rule_and_what_every_alert_measures_has_data_or_says_why_it_may_have_none(watched: Watched) -> None:
    found = list(rules.rules())
    assert len(found) > 50
    empty = [
        rule.name
        for rule in found
        if not rule.may_be_empty and not watched.has_data(rule.measured if isinstance(rule, Alert) else rule.expr)
    ]
    assert empty == []


def test_prometheus_has_taken_every_rule_and_reaches_every_node(watched: Watched) -> None:
    groups = watched.prometheus.ask("rules")["groups"]
    assert sum(len(group["rules"]) for group in groups) == len(list(rules.rules()))
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
    up = {sample["metric"]["instance"]: sample["value"][1] for sample in watched.prometheus.query("up")}
    assert up == {target.name: "1" for target in watched.targets}


def test_a_message_is_one_trace_over_access_logic_storage_kafka_and_access(watched: Watched) -> None:
    complete = watched.complete()
    assert complete
    for spans in complete.values():
        services = {span.name: span.service for span in spans}
        assert services["send"] == services["access send"] == services["deliver"] == "tidings-access"
        assert services["logic send"] == services["publish"] == "tidings-logic"
        assert services["store"] == "tidings-storage"
        (root,) = [span for span in spans if not span.parent]
        assert root.name == "send"
        assert MARK in root.attributes["tidings.user"]
        assert root.attributes["tidings.conversation"][:2] in {"d:", "g:"}


def test_a_trace_may_cross_from_one_access_node_to_another(watched: Watched) -> None:
    crossing = [
        spans
        for spans in watched.complete().values()
        if len({span.node for span in spans if span.service == "tidings-access"}) > 1
    ]
    assert crossing


@pytest.mark.parametrize("histogram", ["tidings_ack_seconds_bucket", "tidings_delivery_seconds_bucket"])
def test_exemplars_lead_from_the_histogram_to_the_trace(watched: Watched, histogram: str) -> None:
    found = watched.prometheus.exemplars(histogram)
    linked = {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}
    assert linked
    assert linked & watched.complete().keys()


def test_no_label_has_a_value_that_was_not_foreseen_and_no_series_grows_with_the_users(watched: Watched) -> None:
    for target in watched.targets:
        answer = httpx2.get(f"http://{target.address}/metrics", headers={"Accept": OPENMETRICS}, trust_env=False)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        samples = [
            sample
            for family in text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
            for sample in family.samples
            if sample.name.startswith("tidings_")
        ]  # fmt: skip
        assert len(samples) < SERIES_MAX
        for sample in samples:
            for label, value in sample.labels.items():
                assert MARK not in value, sample
                assert label == "le" or re.fullmatch(LABELS[label], value), sample


# ---- the load


def _tidings(environment: dict[str, str], data: Path, *arguments: str) -> str:
    program = Path(sys.executable).with_name("tidings")
    done = subprocess.run(
        [program, *arguments, "--data", data], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def _talk(urls: list[str], tokens: dict[str, str]) -> None:
    """Direct chats and a group, with all that people do besides; some of it is refused."""
    async with AsyncExitStack() as stack:
        clients = {
            user: await stack.enter_async_context(Client(urls, token=token, device="d"))
            for user, token in tokens.items()
        }
        users = list(clients)
        group = await clients[users[0]].create_group(name=MARK, members=users[1:4])
        for client in clients.values():
            stack.enter_context(_Listening(client))
        deadline = time.monotonic() + LOAD_S
        turn = 0
        while time.monotonic() < deadline:
            turn += 1
            await asyncio.gather(
                *(
                    client.send(users[(place + turn) % len(users)], "hello")
                    for place, client in enumerate(clients.values())
                )
            )
            await clients[users[turn % 4]].send(group.id, "to all")
            if turn % 4 == 0:
                await _look_around(clients[users[turn % 4]], clients[users[-1]], group.id, users)
            if turn % 16 == 0:
                # Welcomes, backlogs and evictions all the time: the same device comes again and replaces itself.
                async with Client(urls, token=tokens[users[0]], device="visitor", from_start=True) as visitor:
                    await visitor.inbox(0, limit=10)


async def _look_around(client: Client, stranger: Client, group: str, users: list[str]) -> None:
    await client.typing(group)
    await client.presence(users)
    await client.history(group)
    await client.members(group)
    with pytest.raises(Forbidden):
        await stranger.send(group, "may not")


class _Listening:
    """Takes what a client is told, until it is left."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="listening")

    def __exit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()

    async def _listen(self) -> None:
        async for message in self._client.messages():
            await self._client.read(message.conversation, message.seq)
