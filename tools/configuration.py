"""docs/configuration.md, made from the settings classes: `python -m tools.configuration write` or `check`.

Guarantees: `check` fails when the page does not say what the code says. Does not know: what a setting is used for.
"""

from __future__ import annotations

import sys
from pathlib import Path

from services.common.settings import SERVICES, NodeSettings, Setting, describe_class, settings_class

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
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


def main(arguments: list[str]) -> int:
    match arguments:
        case ["write"]:
            PAGE.parent.mkdir(exist_ok=True)
            PAGE.write_text(page(), encoding="utf-8")
            return 0
        case ["check"]:
            if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
                return 0
            sys.stderr.write("docs/configuration.md does not say what the settings say; run `make docs`\n")
            return 1
        case _:
            sys.stderr.write("usage: python -m tools.configuration write|check\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
