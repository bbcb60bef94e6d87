"""Rules and alerts: on metrics that exist, each with a runbook, and right in Prometheus' own judgement."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.tools.make.monitoring.test_boards import known
from tools.make.monitoring import programs
from tools.make.monitoring.__main__ import RESOURCE, ROOT, RULES
from tools.make.monitoring.boards import BOARDS
from tools.make.monitoring.model import Alert
from tools.make.monitoring.promql import metrics_in
from tools.make.monitoring.rules import rules
from tools.make.monitoring.slo import BURNS, SLOS

PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = [rule for rule in rules() if isinstance(rule, Alert)]
NAMES = sorted({alert.name for alert in ALERTS})
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
HEADINGS = ["## What it means", "## What to look at", "## What to do"]


def run(*command: str | Path) -> str:
    """What it prints on standard output; its own words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found() -> programs.Programs:
    return programs.fetch()


def test_every_rule_names_only_metrics_that_there_are() -> None:
    for rule in rules():
        assert metrics_in(rule.expr), rule.name
        assert metrics_in(rule.expr) <= known(), rule.name


def test_an_alert_says_how_bad_it_is_and_what_it_is() -> None:
    for alert in ALERTS:
        assert alert.severity in {"page", "ticket"}
        assert alert.summary
        assert alert.description.endswith("."), alert.name
        assert re.fullmatch(r"\d+[smh]", alert.hold), alert.name


def test_alerts_of_one_name_differ_in_their_labels() -> None:
    kinds = [(alert.name, alert.severity, *sorted(alert.labels.items())) for alert in ALERTS]
    assert len(kinds) == len(set(kinds))


def test_the_pages_are_those_of_the_alerts() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("Tidings*.md")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == HEADINGS
    severities = {alert.severity for alert in ALERTS if alert.name == name}
    assert set(re.findall(r"`(page|ticket)`", text.split(HEADINGS[0])[0])) == severities
    assert all(len(part) > 40 for part in re.split("|".join(HEADINGS), text)[1:])


@pytest.mark.parametrize("name", NAMES)
def test_a_page_names_panels_that_there_are(name: str) -> None:
    titles = {
        board.title.split(" / ")[1].split()[0]: [row.title for row in board.rows]
        + [panel.title for panel in board.panels()]
        for board in BOARDS
    }
    text = " ".join((RUNBOOKS / f"{name}.md").read_text(encoding="utf-8").split())
    for board, panel in re.findall(rf'\b({"|".join(titles)}), "([^"]+)"', text):
        assert any(title.startswith(panel) for title in titles[board]), f"{board}, {panel}"


def test_the_list_of_pages_is_complete() -> None:
    listed = re.findall(r"\]\((Tidings\w+)\.md\)", (RUNBOOKS / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == NAMES


def test_a_budget_is_watched_by_two_pages_and_two_tickets() -> None:
    assert [severity for severity, *_ in BURNS] == ["page", "page", "ticket", "ticket"]
    for slo in SLOS:
        assert sum(alert.name == slo.alert for alert in ALERTS) == len(BURNS)


def test_promtool_accepts_the_rules(found: programs.Programs) -> None:
    for file in sorted(RULES.glob("*.yaml")):
        assert "SUCCESS" in run(found.promtool, "check", "rules", "--lint=all", "--lint-fatal", file)


def test_promtool_accepts_the_rules_of_the_operator(found: programs.Programs, tmp_path: Path) -> None:
    """The operator takes what stands in the object's spec as a file of rules."""
    spec = yaml.safe_load(RESOURCE.read_text(encoding="utf-8"))["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    said = run(found.promtool, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")
    assert f"{len(list(rules()))} rules found" in said


def test_promtool_accepts_the_configuration(found: programs.Programs) -> None:
    assert "SUCCESS" in run(found.promtool, "check", "config", PROMETHEUS / "prometheus.yaml")


def test_amtool_accepts_the_example_and_routes_pages_and_tickets(found: programs.Programs) -> None:
    example = PROMETHEUS / "alertmanager.yaml"
    assert "SUCCESS" in run(found.amtool, "check-config", example)
    for severity, receiver in (("page", "pager"), ("ticket", "tickets")):
        routed = run(found.amtool, "config", "routes", "test", f"--config.file={example}", f"severity={severity}")
        assert routed.strip() == receiver


def test_what_the_example_does_not_tell_besides_are_alerts_that_there_are() -> None:
    example = yaml.safe_load((PROMETHEUS / "alertmanager.yaml").read_text(encoding="utf-8"))
    matchers = [
        each for rule in example["inhibit_rules"] for side in ("source", "target") for each in rule[f"{side}_matchers"]
    ]
    named = {name for each in matchers if each.startswith("alertname") for name in re.findall(r"Tidings\w+", each)}
    assert named
    assert named <= set(NAMES)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_shall_and_only_then(found: programs.Programs, file: Path) -> None:
    assert "SUCCESS" in run(found.promtool, "test", "rules", file)


def test_every_alert_is_shown_to_fire() -> None:
    tested = {
        name for file in TESTS for name in re.findall(r'alertname[=:] ?"?(\w+)', file.read_text(encoding="utf-8"))
    }
    assert sorted(tested) == NAMES
