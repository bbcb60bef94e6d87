"""The page of metrics: names that Prometheus likes, few labels, nothing that grows with users."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from services.common.telemetry.metrics import LABELS, described

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
