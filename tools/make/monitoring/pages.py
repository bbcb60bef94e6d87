"""docs/metrics.md: every metric with its labels and meaning, from the one file of names."""

from __future__ import annotations

from services.common.telemetry import metrics

HEAD = """# Metrics

Written by `make dashboards` from [`metrics.py`](../services/common/telemetry/metrics.py), the one file of names.
Every node serves them at `/metrics` of its ops address; besides them Python's and the process's own (`process_…`,
`python_…`). Times are in seconds, sizes in bytes. Every process has all of them; those of another kind of node stay 0.

| metric | kind | labels | meaning |
|---|---|---|---|
"""
LABELS_HEAD = """
## What labels hold

Never a user, a conversation, a connection or an address: the number of series does not grow with use. A test holds a
cluster under load to these patterns.

| label | values |
|---|---|
"""


def metrics_page() -> str:
    rows = "".join(
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |\n"
        for each in metrics.described()
    )
    labels = "".join(f"| `{name}` | `{_cell(pattern)}` |\n" for name, pattern in sorted(metrics.LABELS.items()))
    return HEAD + rows + LABELS_HEAD + labels


def _cell(pattern: str) -> str:
    """A bar would end the cell."""
    return pattern.replace("|", "\\|")
