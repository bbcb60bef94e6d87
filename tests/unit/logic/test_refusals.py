"""Whoever is refused by logic, or starts it with wrong settings, is told what is wrong and what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tidings_protocol import errors

LOGIC = Path(__file__).parents[3] / "services/logic"
ERRORS = {"ValueError"} | {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TidingsError) and kind is not errors.TidingsError
}
# What a text may ask of its reader.
VERBS = {
    *("add", "ask", "change", "check", "choose", "connect", "give", "join", "keep", "leave", "make", "name", "send"),
    *("set", "signal", "try", "use", "write"),
}


def _texts() -> Iterator[tuple[str, str]]:
    """Each text with which an error is made, and where; what is put into it is shown as `{}`."""
    for path in sorted(LOGIC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
                for text in _said(node.args[0]):
                    yield f"{path.name}:{node.lineno}", text


def _said(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(str(text)):
            yield text
        case ast.JoinedStr(parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.IfExp(_, one, other):
            yield from (*_said(one), *_said(other))
        case _:
            return  # somebody else's words


def test_each_text_says_what_is_wrong_and_behind_a_colon_what_to_do() -> None:
    texts = list(_texts())
    assert len(texts) > 50
    told = [(place, text, *text.partition(": ")[::2]) for place, text in texts]
    assert [(place, text) for place, text, wrong, to_do in told if not wrong or to_do.split(" ")[0] not in VERBS] == []
