"""What the commands of the chat ask of the client, and what they say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tidings import Client, HistoryPage, Message
from tidings.model import MEMBERSHIP_MIME
from tools.cli.chat.controller import Controller
from tools.cli.chat.model import ChatModel

GROUP = "g:4f"
NOW_MS = 1_700_000_000_000


@dataclass
class Calls:
    """Stands in for the client: notes what it is asked, and answers nothing."""

    made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        async def call(*words: Any, **given: Any) -> list[Any]:
            self.made.append((name, words, given))
            return []

        return call

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(words, given) for made, words, given in self.made if made == name]


def _open(*messages: Message) -> tuple[Calls, ChatModel, Controller]:
    calls, model = Calls(), ChatModel("ann")
    model.open(GROUP, name="Crew")
    model.page(GROUP, HistoryPage(messages, max(each.seq for each in messages), False, False, 1))
    return calls, model, Controller(cast("Client", calls), model, changed=lambda: None)


def _message(seq: int) -> Message:
    return Message(f"m{seq}", GROUP, seq, "bob", NOW_MS, "hi")


def _notice(seq: int, act: str, *users: str) -> Message:
    data = json.dumps({"act": act, "by": "bob", "users": users}).encode()
    return Message(f"m{seq}", GROUP, seq, "bob", NOW_MS, "", data=data, mime=MEMBERSHIP_MIME, system=True)


def _said(model: ChatModel) -> list[str]:
    talk = model.talk
    return [line.text for line in talk.lines if not line.sender] if talk is not None else []


@pytest.mark.parametrize("line", ["/react 9 x", "/reply 9 so do I", "/recall #9", "/pin 0"])
async def test_a_message_that_is_not_there_is_not_asked_of_the_server(line: str) -> None:
    calls, model, controller = _open(_message(7))
    await controller.enter(line)
    assert calls.made == []
    assert len(_said(model)) == 1
    assert _said(model)[0].startswith("There is no message #")


async def test_a_message_further_up_is_asked_of_the_server() -> None:
    calls, _, controller = _open(_message(7))
    await controller.enter("/pin 3")
    assert calls.named("pin") == [((GROUP, 3), {})]


@pytest.mark.parametrize(
    ("line", "given", "said"),
    [
        ("/mute", {"muted_until_ms": -1}, "notifies you no more"),
        ("/mute off", {"muted_until_ms": 0}, "notifies you again"),
        ("/top", {"pinned": True, "archived": False}, "at the top of the list."),
        ("/top off", {"pinned": False}, "at the top of the list no more."),
        ("/archive", {"archived": True, "pinned": False}, "at the end of the list."),
        ("/archive off", {"archived": False}, "at the end of the list no more."),
    ],
)
async def test_what_is_set_for_a_conversation_is_said(line: str, given: dict[str, Any], said: str) -> None:
    calls, model, controller = _open(_message(7))
    await controller.enter(line)
    assert calls.named("prefer") == [((GROUP,), given)]
    assert said in _said(model)[0]


@pytest.mark.parametrize(("act", "users", "read"), [("ban", ("ann",), 0), ("ban", ("cleo",), 1), ("dissolve", (), 0)])
async def test_who_was_put_out_reads_the_notice_and_the_server_is_not_asked(
    act: str, users: tuple[str, ...], read: int
) -> None:
    calls, model, controller = _open(_message(7), _notice(8, act, *users))
    assert model.talks[GROUP].unread
    await controller._mark_read()
    assert len(calls.named("read")) == read
    assert model.talks[GROUP].unread == 0
    assert _said(model) == []


async def test_words_of_the_person_are_told_as_they_were_typed() -> None:
    _, model, controller = _open(_message(7))
    await controller.enter("/set colour red")
    await controller.enter("/pin maybe")
    assert [text.split(" ")[0] for text in _said(model)] == ["'colour'", "'maybe'"]
