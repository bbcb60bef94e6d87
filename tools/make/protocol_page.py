"""The table of requests in docs/protocol.md, made from the table of operations.

    python -m tools.make.protocol_page write     (or: check)

The requests and their replies are the code's, the notes are the page's: `write` keeps those that stand there.

Guarantees: `check` fails when a request is missing, has another reply than the code says, or has no note.

Does not know: the rest of the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tidings_protocol.operations import OPERATIONS, Operation

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "protocol.md"
HEAD = "| request | reply | notes |\n|---|---|---|\n"


def page(present: str) -> str:
    """The page with the table as it has to be; ValueError if it has none."""
    before, table, after = _parted(present)
    notes = _notes(table)
    bodies = dict.fromkeys(operation.body for operation in OPERATIONS.values())
    rows = [f"| `{body}` | {_reply(_rows_of(body))} | {notes.get(body, '')} |" for body in bodies]
    return before + HEAD + "\n".join(rows) + after


def silent(made: str) -> list[str]:
    """Requests of which the page does not say what they are for."""
    return [body for body, note in _notes(_parted(made)[1]).items() if not note]


def _parted(text: str) -> tuple[str, str, str]:
    """What is before the table's rows, they, and what is after them."""
    before, head, rest = text.partition(HEAD)
    if not head:
        raise ValueError(f"there is no table that begins with {HEAD.splitlines()[0]}")
    table, gap, after = rest.partition("\n\n")
    return before, table, gap + after


def _notes(table: str) -> dict[str, str]:
    """By the request."""
    rows = ([cell.strip() for cell in row.strip("|").split("|", 2)] for row in table.splitlines())
    return {request.strip("`"): note for request, _, note in rows}


def _rows_of(body: str) -> list[Operation]:
    return [operation for operation in OPERATIONS.values() if operation.body == body]


def _reply(operations: list[Operation]) -> str:
    answers = list(dict.fromkeys(answer for operation in operations for answer in operation.answers))
    if answers:
        named = [f"`{answer}`" for answer in answers]
        return " or ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)
    if any(operation.answered for operation in operations):
        return "none (an `error` if refused)"
    return "none"


def main(arguments: list[str]) -> int:
    present = PAGE.read_text(encoding="utf-8")
    made = page(present)
    match arguments:
        case ["write"]:
            PAGE.write_text(made, encoding="utf-8")
        case ["check"]:
            if made != present:
                sys.stderr.write(f"{PAGE.name} does not say what the table of operations says; run `make docs`\n")
                return 1
        case _:
            sys.stderr.write("usage: python -m tools.make.protocol_page write|check\n")
            return 2
    if without := silent(made):
        sys.stderr.write(f"{PAGE.name} does not say what these requests are for: {', '.join(without)}\n")
    return 1 if without else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
