"""What a person may type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.chat.commands import BY_NAME, SPECS, Command, Say, Wrong, completions, help_lines, parse
from tools.cli.chat.controller import Controller


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", None),
        ("   ", None),
        ("hello there ", Say("hello there")),
        ("//not a command", Say("/not a command")),
        ("/to bob", Command("to", ("bob",))),
        ("/TO bob", Command("to", ("bob",))),
        ("/rename The New Name", Command("rename", ("The New Name",))),
        ("/reply 12 so do I", Command("reply", ("12", "so do I"))),
        ("/create crew ann bob", Command("create", ("crew", "ann", "bob"))),
        ("/edit . so do we", Command("edit", (".", "so do we"))),
        ("/react #7 👍", Command("react", ("#7", "👍"))),
        ("/set description what we do", Command("set", ("description", "what we do"))),
        ("/mute", Command("mute")),
    ],
)
def test_lines_mean(line: str, meant: object) -> None:
    assert parse(line) == meant


@pytest.mark.parametrize(
    ("line", "said"),
    [("/memebrs", "did you mean /members?"), ("/zzz", "/help"), ("/to", "/to USER"), ("/list x", "/list")],
)
def test_what_is_wrong_is_said_with_what_is_right(line: str, said: str) -> None:
    wrong = parse(line)
    assert isinstance(wrong, Wrong)
    assert said in wrong.reason


@given(st.text())
def test_any_line_means_something(line: str) -> None:
    parse(line)


def test_help_shows_every_command() -> None:
    lines = help_lines()
    for spec in SPECS:
        assert any(line.startswith(spec.usage) and line.endswith(spec.about) for line in lines), spec.name


def test_help_tells_how_people_are_mentioned_and_what_can_be_set() -> None:
    lines = "\n".join(help_lines())
    assert "@USER" in lines
    assert "//TEXT" in lines
    assert "approval, adding, silent on|off; slow SECONDS" in lines


def test_every_command_is_done_somewhere() -> None:
    for name in BY_NAME.keys() - {"quit"}:
        assert callable(getattr(Controller, f"_on_{name}")), name


def test_commands_and_names_are_completed() -> None:
    assert completions("/re", []) == [
        "/reply",
        "/recall",
        "/react",
        "/reactions",
        "/readers",
        "/retry",
        "/remove",
        "/rename",
        "/requests",
    ]
    assert completions("/to b", ["ann", "bob"]) == ["bob"]
    assert completions("hello b", ["bob"]) == []


def test_names_are_searched_as_one_types_them() -> None:
    people, names = ["ann", "bob", "b.rose"], {"ann": "Anna Miller", "bob": "Bob"}
    assert completions("ask @b", [], people, names) == ["@b.rose", "@bob"]
    assert completions("ask @mill", [], people, names) == ["@ann"]
    assert completions("/reply 3 @an", [], people, names) == ["@ann"]
    assert completions("all of @", [], people, names) == ["@ann", "@b.rose", "@bob", "@all"]
    assert completions("@nobody", [], people, names) == []
