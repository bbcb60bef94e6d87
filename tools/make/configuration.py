"""docs/configuration.md and deploy/k8s/base/settings.toml, made from the settings classes.

    python -m tools.make.configuration write     (or: check)

Guarantees: `check` fails when a page does not say what the code says. Does not know: what a setting is used for.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from services.common.settings.describe import Setting, describe_class
from services.common.settings.node import NodeSettings
from services.common.settings.sources import SERVICES, settings_class

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "configuration.md"
CLUSTER_FILE = ROOT / "deploy" / "k8s" / "base" / "settings.toml"
# What a cluster on Kubernetes has otherwise than a laptop. What differs from one cluster to the next is not here, but
# in the environment (deploy/k8s/base/kustomization.yaml), and so is what a pod knows only when it starts.
CLUSTER: Mapping[str, str | int] = {
    "profile": "production",
    "kafka_replication": 3,
    "mailbox_partitions": 1024,
    "token_secret_file": "/etc/tidings/token/secret",  # a path, not a secret  # nosec B105
    "operator_token_file": "/etc/tidings/operator/token",  # nosec B105
}
CLUSTER_HEAD = """\
# Settings of all nodes on Kubernetes: every one with its meaning. A line without # in front is set here, the others
# show the default. Made from the code by `make docs`; do not edit it here. To change a setting, put it into the
# environment, which wins: TIDINGS_ in front of its name in capitals, in the overlay's `tidings-environment`.
"""
WIDTH = 118
HEAD = """# Configuration

*Made from the code by `make docs`; do not edit it here.*

A node reads its settings once, at its start: from environment variables, or from a TOML file that `TIDINGS_CONFIG`
names. In the file the names are those of the first column (`rpc_listen = "10.0.0.7:8300"`), in the environment those
with `TIDINGS_` in front and in capitals (`TIDINGS_RPC_LISTEN=10.0.0.7:8300`); a list is separated by commas there.
The environment wins over the file, the file over the default. Units are in the names: `_s` seconds, `_ms`
milliseconds, `_bytes` bytes.

A wrong value or an unknown name stops the start (exit code 2) with the name, the value, what is allowed, and the
nearest known name. One file or environment may serve all nodes: a name is unknown only if no service has it.
`TIDINGS_CONFIG`, `TIDINGS_DATA`, `TIDINGS_ETCD` and `TIDINGS_OPERATOR_TOKEN` belong to the `tidings` command; names
that begin with `TIDINGS_X_` are free for others.

`tidings config show` prints every value with where it came from, `tidings config check` only what is wrong.
"""


def page() -> str:
    """The whole page."""
    shared = set(NodeSettings.model_fields)
    parts = [HEAD, _table("Every node", "", describe_class(NodeSettings))]
    for service in SERVICES:
        own = [row for row in describe_class(settings_class(service)) if row.name not in shared]
        remark = f"Besides those of every node. `python -m services.{service}`."
        parts.append(_table(f"{service.capitalize()} nodes", remark, own))
    return "\n".join(parts)


def _table(title: str, remark: str, rows: list[Setting]) -> str:
    head = ["| name | default | allowed | meaning |", "|---|---|---|---|"]
    lines = [f"## {title}", "", *([remark, ""] if remark else []), *head]
    for row in rows:
        default = f"`{row.default}`" if row.default else "(empty)"
        cells = (f"`{row.name}`", default, row.allowed, row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def cluster_file() -> str:
    """The file that all nodes of a cluster on Kubernetes read."""
    shared = set(NodeSettings.model_fields)
    parts = [CLUSTER_HEAD, *_written("Every node", describe_class(NodeSettings))]
    told = set(shared)
    for service in SERVICES:
        own = [row for row in describe_class(settings_class(service)) if row.name not in told]
        told |= {row.name for row in own}
        parts += _written(f"{service.capitalize()} nodes", own)
    return "\n".join(parts)


def _written(title: str, rows: list[Setting]) -> Iterator[str]:
    yield f"# ---- {title}\n"
    for row in rows:
        meaning = f"{row.meaning} ({row.allowed})" if row.allowed else row.meaning
        yield textwrap.fill(meaning, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        if row.name in CLUSTER:
            yield f"{row.name} = {json.dumps(CLUSTER[row.name])}\n"
        else:
            yield f"#{row.name} = {_toml(row.default)}\n"


def _toml(default: str) -> str:
    """The default as it would be written; nothing for what is not set."""
    if default in ("None", "(required)"):
        return default.strip("()").lower().replace("none", "(unset)")
    if default in ("true", "false") or re.fullmatch(r"-?[0-9.]+", default):
        return default
    return json.dumps(default)


def pages() -> dict[Path, str]:
    return {PAGE: page(), CLUSTER_FILE: cluster_file()}


def main(arguments: list[str]) -> int:
    match arguments:
        case ["write"]:
            for path, text in pages().items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return 0
        case ["check"]:
            stale = [p for p, text in pages().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
            for path in stale:
                sys.stderr.write(f"{path.name} does not say what the settings say; run `make docs`\n")
            return 1 if stale else 0
        case _:
            sys.stderr.write("usage: python -m tools.make.configuration write|check\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
