"""Whom a text mentions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.chat.mentions import MENTIONS_MAX, mentioned

PEOPLE = {"ann", "bob", "b.rose"}


@pytest.mark.parametrize(
    ("text", "users", "everybody"),
    [
        ("hi", (), False),
        ("@bob", ("bob",), False),
        ("well, @bob: ask @ann.", ("bob", "ann"), False),
        ("@b.rose... and @bob, @bob", ("b.rose", "bob"), False),
        ("@all, and @ann", ("ann",), True),
        ("mail bob@ann or @@bob", (), False),
        ("@nobody @bobby", (), False),
    ],
)
def test_people_who_are_there_are_mentioned(text: str, users: tuple[str, ...], everybody: bool) -> None:
    assert mentioned(text, PEOPLE) == (users, everybody)


def test_no_more_than_the_server_takes() -> None:
    people = {f"u{number}" for number in range(100)}
    users, _ = mentioned(" ".join(f"@{user}" for user in people), people)
    assert len(users) == MENTIONS_MAX


@given(st.text(alphabet="@ab.: -"))
def test_any_text_can_be_looked_at(text: str) -> None:
    users, _ = mentioned(text, PEOPLE)
    assert all(f"@{user}" in text for user in users)
