"""Rules and alerts as Prometheus' own YAML, one file a subject; all of them as an object for its operator; and every
alert, for those who look at them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tools.make.monitoring import alerts, slo
from tools.make.monitoring.model import Alert, Group, Record

FILES = {"slo.yaml": slo.groups, "alerts.yaml": alerts.groups}
HEADER = "# Written by `make dashboards` from tools/make/monitoring: change it there.\n"
# Where the pages are: a base that a team replaces by the address of its own copy.
RUNBOOKS = "docs/runbooks"


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Contents by name."""
    return {
        name: HEADER + _yaml({"groups": [_group(group, runbooks) for group in groups()]})
        for name, groups in FILES.items()
    }


def custom_resource(runbooks: str = RUNBOOKS) -> str:
    """All of them for the Prometheus operator."""
    found = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "tidings"},
        "spec": {"groups": [_group(group, runbooks) for groups in FILES.values() for group in groups()]},
    }
    return HEADER + _yaml(found)


def rules() -> Iterator[Record | Alert]:
    for groups in FILES.values():
        for group in groups():
            yield from group.rules


def _group(group: Group, runbooks: str) -> dict[str, Any]:
    return {
        "name": group.name,
        "interval": group.interval,
        "rules": [_alert(rule, runbooks) if isinstance(rule, Alert) else _record(rule) for rule in group.rules],
    }


def _record(record: Record) -> dict[str, Any]:
    return {"record": record.name, "expr": record.expr}


def _alert(alert: Alert, runbooks: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.hold,
        "labels": {"severity": alert.severity, **alert.labels},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}/{alert.name}.md",
        },
    }


def _yaml(found: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(found, sort_keys=False, width=120, allow_unicode=True)
    return text
