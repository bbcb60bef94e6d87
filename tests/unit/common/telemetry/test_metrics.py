"""The page of metrics: names that Prometheus likes, few labels, nothing that grows with users."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from services.common.telemetry.metrics import LABELS, described, observe_many

ROOT = Path(__file__).resolve().parents[4]
KINDS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
GROWS = {"user", "conversation", "connection", "session", "device", "address", "message", "token", "slot", "key"}


def test_every_metric_has_a_name_a_meaning_and_a_unit_that_prometheus_likes() -> None:
    metrics = list(described())
    assert len(metrics) > 50
    for metric in metrics:
        assert metric.name.startswith("tidings_"), metric
        assert len(metric.meaning) > 8, metric
        assert not metric.meaning.endswith("."), metric
        assert "_ms" not in metric.name, metric


def test_no_metric_has_a_label_that_grows_with_the_users() -> None:
    for metric in described():
        assert not GROWS & set(metric.labels), metric
        assert len(metric.labels) <= 3, metric


def test_a_metric_is_made_on_that_page_and_nowhere_else() -> None:
    page = ROOT / "services" / "common" / "telemetry" / "metrics.py"
    for file in sorted((ROOT / "services").rglob("*.py")):
        if file == page:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client"):
                made = {alias.name for alias in node.names} & KINDS
                assert not made, f"{file.relative_to(ROOT)} makes metrics of its own"


def test_what_a_label_may_hold_is_said_and_is_not_anything() -> None:
    used = {label for metric in described() for label in metric.labels}
    assert used == set(LABELS)
    for label, pattern in LABELS.items():
        assert label == "version" or not re.fullmatch(pattern, "d:ann|bob 127.0.0.1:80"), label


def test_what_has_not_happened_yet_is_0_and_not_missing() -> None:
    from prometheus_client import REGISTRY, generate_latest

    text = generate_latest(REGISTRY).decode()
    for series in ('tidings_sends_total{outcome="unavailable"}', 'tidings_publish_dropped_total{kind="lasting"}'):
        assert f"\n{series} " in text


def test_a_metric_that_is_described_is_also_measured() -> None:
    page = ROOT / "services" / "common" / "telemetry" / "metrics.py"
    names = re.findall(r"^([A-Z_]+) = (?:Counter|Gauge|Histogram)\(", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 80
    others = " ".join(file.read_text(encoding="utf-8") for file in (ROOT / "services").rglob("*.py") if file != page)
    assert [name for name in names if not re.search(rf"\bmetrics\.{name}\b", others)] == []


@given(st.lists(st.sampled_from([-1.0, 0, 0.5, 1, 1.5, 2, 3, 5, 1000, 0.1])), st.lists(st.floats(0, 10)))
def test_many_observations_at_once_are_as_many_one_by_one(few: list[float], any_amounts: list[float]) -> None:
    registry = CollectorRegistry()
    one_by_one = Histogram("one", "One by one", buckets=(0, 1, 2, 5), registry=registry)
    at_once = Histogram("many", "At once", buckets=(0, 1, 2, 5), registry=registry)
    for amounts in (few, any_amounts):
        for amount in amounts:
            one_by_one.observe(amount)
        observe_many(at_once, iter(amounts))
    [expected], [found] = one_by_one.collect(), at_once.collect()
    for wanted, got in zip(expected.samples, found.samples, strict=True):
        assert got.labels == wanted.labels
        assert got.value == pytest.approx(wanted.value)


def test_many_observations_are_those_of_the_labels_they_are_made_with() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("labelled", "With a label", ["lane"], buckets=(1,), registry=registry)
    observe_many(histogram.labels("a"), [0.5, 3.0])
    assert registry.get_sample_value("labelled_bucket", {"lane": "a", "le": "1.0"}) == 1
    assert registry.get_sample_value("labelled_count", {"lane": "a"}) == 2
    assert registry.get_sample_value("labelled_sum", {"lane": "a"}) == 3.5
