"""What a person is told, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidings import ChangeAct, Content, Media, Membership, Message, MessageChanged, Reacted, State
from tools.cli.chat.telling import change_of, notice, sentence, text_of

MESSAGE = Message("m1", "g:1", 7, "bob", 1, "hi")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Membership("update", "ann", settings={"slowS": 5, "open": True, "new": 1}), "ann changed how fast one may"),
        (Membership("mute", "ann", ("bob",)), "ann muted bob"),
        (Membership("unmute", "ann", ("bob",)), "ann lets bob write again"),
        (Membership("ban", "ann", ("bob", "cleo")), "ann banned bob, cleo"),
        (Membership("unban", "ann", ("bob",)), "ann lifted the ban of bob"),
        (Membership("dissolve", "ann"), "ann dissolved the group"),
    ],
)
def test_changes_of_groups(told: Membership, said: str) -> None:
    assert (notice(told) or "").startswith(said)


def test_sentences_begin_with_a_capital_letter_but_ids_stay() -> None:
    assert sentence("nobody is here") == "Nobody is here"
    assert sentence("this message, they say") == "This message, they say"
    assert sentence("g:12ab is not open") == "g:12ab is not open"
    assert sentence("'off' is no role") == "'off' is no role"
    assert sentence("") == ""


def test_acts_of_a_later_server_are_not_told() -> None:
    assert notice(Membership("merge", "ann")) is None


def test_messages() -> None:
    assert text_of(replace(MESSAGE, text="", media=(Media("m", "image/png", "cat.png", 5),))) == "[cat.png, 5 bytes]"
    assert text_of(replace(MESSAGE, text="", state=State(streaming=True))) == ""
    assert text_of(replace(MESSAGE, expires_ms=5).at(6)) == "(expired)"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (ChangeAct.EDIT, "bob changed #7: hello"),
        (ChangeAct.FINISH, "bob finished #7: hello"),
        (ChangeAct.RECALL, "bob took #7 back"),
        (ChangeAct.PIN, "bob pinned #7"),
        (ChangeAct.UNPIN, "bob unpinned #7"),
        (ChangeAct.REACT, "about #7: cleo 👍, dan no more 👍"),
    ],
)
def test_changes_of_messages(act: ChangeAct, said: str) -> None:
    change = MessageChanged(
        "g:1",
        7,
        8,
        act,
        "bob",
        1,
        State(),
        Content(text="hello"),
        added=(Reacted("cleo", "👍"),),
        removed=(Reacted("dan", "👍"),),
    )
    assert change_of(change) == said
