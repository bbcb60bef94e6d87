"""The core and the model server on a network without faults: what is asked, what is told, what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from tests.unit.client.virtual_net import Faults, World
from tidings import Group, MessageState, Progress, Role
from tidings.core.messages.feed import GROUP_CURSORS_MAX, Feed
from tidings.core.messages.wants import WantHistory, WantInfo
from tidings.core.signals import Submit
from tidings.state import SavedState
from tidings_protocol import client_pb2 as pb

LARGE = "g:large"


def _world(**options: Any) -> World:
    world = World(1, Faults(), **options)
    world.start()
    return world


def _answer_syncs(world: World, page: Callable[[pb.Sync], pb.Page]) -> list[int]:
    """The server answers them in this way; what they asked."""
    asked: list[int] = []

    def answer(_session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        if not frame.HasField("sync"):
            return None
        asked.append(frame.sync.after)
        return pb.ServerFrame(page=page(frame.sync))

    world.server.refuse = answer
    return asked


def test_a_device_far_behind_an_inbox_whose_messages_are_gone_comes_to_those_of_today() -> None:
    world = _world()
    for number in range(3):
        world.server.text("ann", world.me_to("ann"), f"today {number}")
    entries = [
        pb.Entry(number=90_001 + index, message=message)
        for index, message in enumerate(world.server.rooms[world.me_to("ann")].messages)
    ]
    world.cut()

    def page(sync: pb.Sync) -> pb.Page:
        """At most 4,020 numbers a page, whether or not anything is left of them."""
        upto = min(90_003, sync.after + 4020)
        found = [entry for entry in entries if sync.after < entry.number <= upto]
        return pb.Page(entries=found, next=upto, head=90_003, more=upto < 90_003, truncated=not found)

    world = _world(from_start=True)
    asked = _answer_syncs(world, page)
    world.server.nudge(next(iter(world.server.sessions)))
    world.run(5.0)
    assert [message.text for message in world.shown] == ["today 0", "today 1", "today 2"]
    assert len(asked) < 40


@pytest.mark.parametrize("more", [True, False])
def test_pages_that_never_move_are_asked_for_later_and_later(more: bool) -> None:
    world = _world()
    asked = _answer_syncs(world, lambda sync: pb.Page(next=sync.after, head=50, more=more))
    world.push(pb.ServerFrame(lagging=pb.Lagging(inbox_head=50)))
    world.run(120.0)
    assert 1 <= len(asked) < 30


def test_history_that_never_moves_is_asked_for_later_and_later() -> None:
    world = _world()
    asked: list[int] = []

    def answer(_session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        if not frame.HasField("history"):
            return None
        asked.append(frame.history.after)
        return pb.ServerFrame(page=pb.Page(next=frame.history.after, head=9, more=True))

    world.server.refuse = answer
    world.server.group(LARGE, ["me", "ann"], large=True)
    for number in range(9):
        world.server.text("ann", LARGE, f"{number}")
    world.cut()
    world.run(120.0)
    assert 1 <= len(asked) < 40


def test_a_list_of_conversations_that_never_moves_is_not_read_for_ever() -> None:
    world = _world()
    room = world.server.group(LARGE, ["ann"], large=True)
    room.shared = True
    world.server.text("ann", LARGE, "before")
    room.members["me"] = room.head
    asked: list[str] = []

    def answer(_session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        if not frame.HasField("conversations"):
            return None
        asked.append(frame.conversations.after)
        return pb.ServerFrame(conversation_page=pb.ConversationPage(next="same", more=True))

    world.server.refuse = answer
    world.server.text("ann", LARGE, "hi")
    world.run(60.0)
    assert 1 <= len(asked) < 10


def test_what_was_taken_just_before_the_connection_broke_is_acknowledged_in_the_next() -> None:
    world = _world()
    for number in range(2):
        world.server.text("ann", world.me_to("ann"), f"{number}")
        world.run(0.004)  # taken; the second one's acknowledgement is not due yet
    world.cut()
    world.run(1.0)
    assert [message.text for message in world.shown] == ["0", "1"]
    assert world.acks[-1][1] == 2


def test_a_new_device_does_not_acknowledge_what_it_never_had() -> None:
    world = World(1, Faults())
    world.server.text("ann", world.me_to("ann"), "before")
    world.start()
    world.run(5.0)
    assert world.acks == []


def test_one_who_is_no_member_any_more_forgets_where_it_read_and_tells_the_application() -> None:
    world = _world()
    room = world.server.group(LARGE, ["me", "ann"], large=True)
    world.server.text("ann", LARGE, "one")
    world.run(5.0)
    del room.members["me"]
    world.cut()
    world.run(1.0)
    assert LARGE in world.server.cursors[-1]
    world.push(pb.ServerFrame(group_info=pb.GroupInfo(conversation=LARGE, name="large")))
    world.run(1.0)
    told = [notice for notice in world.notices if isinstance(notice, Group)]
    assert [(group.id, group.role) for group in told] == [(LARGE, Role.NONE)]
    world.cut()
    world.run(1.0)
    assert LARGE not in world.server.cursors[-1]

    world.server.text("ann", LARGE, "without me")
    room.members["me"] = room.head
    world.server.text("ann", LARGE, "with me again")
    world.run(20.0)
    assert [message.text for message in world.shown] == ["one", "with me again"]


def _entry(conversation: str, seq: int) -> pb.Entry:
    return pb.Entry(message=pb.Message(conversation=conversation, seq=seq, kind=pb.Message.NORMAL))


@pytest.mark.parametrize("answer", ["info", "history", "refusal"])
def test_an_answer_about_a_group_that_was_left_meanwhile_does_not_bring_its_cursor_back(answer: str) -> None:
    groups = {LARGE: 3} if answer == "history" else {}
    feed = Feed(SavedState("me", "phone", "e", 0, groups), lambda _message: False, capacity=10)
    feed.welcome(pb.Welcome(user="me", epoch="e", group_heads={LARGE: 9}), 0.0)
    (want,) = feed.wants(0.0)
    feed.removed(LARGE, 0.0)
    match want:
        case WantInfo() if answer == "info":
            feed.informed(want, pb.GroupInfo(conversation=LARGE, role=pb.Member.MEMBER), 0.0)
        case WantHistory() if answer == "history":
            feed.filled(want, pb.Page(entries=[_entry(LARGE, 4)], next=4, head=9), 0.0)
        case _:
            feed.refused(want, 0.0)
    assert LARGE not in feed.group_cursors()
    assert list(feed.wants(60.0)) == []


def test_a_hello_has_so_many_group_cursors_and_the_others_are_read_on_all_the_same() -> None:
    world = _world()
    names = [f"g:{number}" for number in range(GROUP_CURSORS_MAX + 200)]
    for name in names:
        world.server.group(name, ["me", "ann"], large=True)
        world.server.text("ann", name, "one")
    world.run(30.0)
    world.server.text("ann", names[-1], "the latest")
    world.run(0.01)
    assert len(world.shown) == len(names) + 1
    world.cut()
    world.server.text("ann", names[0], "two")
    world.server.text("ann", names[-1], "two")
    world.run(30.0)
    assert len(world.server.cursors[-1]) == GROUP_CURSORS_MAX
    assert names[-1] in world.server.cursors[-1]
    assert {message.conversation for message in world.shown[len(names) + 1 :]} == {names[0], names[-1]}
    assert len(world.shown) == len(names) + 3


def test_each_hello_is_a_higher_attempt_also_over_restarts_and_clocks_that_go_back() -> None:
    world = _world(clock_jumps=True)
    for _ in range(20):
        world.cut()
        world.run(1.0)
        world.restart()
        world.run(1.0)
    attempts = world.server.attempts
    assert len(attempts) == 41
    assert all(later > earlier for earlier, later in pairwise(attempts))
    assert attempts[0] > 1_600_000_000_000


def test_the_hello_says_which_protocol_this_is() -> None:
    world = _world()
    assert world.server.protocols == [11]


def test_a_stored_message_whose_answer_was_lost_never_shows_as_failed() -> None:
    """The repeat is answered as a duplicate, as the server does also for one who has left meanwhile."""
    world = _world()
    conversation = world.me_to("ann")
    ticket = world.send(conversation, "hi")
    world.run(0.003)  # stored, and the answer is on the way
    world.cut()
    world.run(10.0)
    assert isinstance(world.outcomes[ticket], pb.ServerFrame)
    states = [notice.state for notice in world.notices if isinstance(notice, Progress)]
    assert states == [MessageState.SENDING, MessageState.SENT]


def test_one_client_id_to_two_people_is_two_messages_though_the_answer_of_one_was_lost() -> None:
    world = _world()
    to_ann, to_bob = world.me_to("ann"), world.me_to("bob")

    def news(ticket: int, conversation: str) -> Submit:
        send = pb.Send(client_id="news", conversation=conversation, content=pb.Content(text="news"))
        return Submit(ticket, pb.ClientFrame(send=send), conversation)

    world.submit(news(1, to_ann))
    world.run(0.003)
    world.submit(news(2, to_bob))
    world.cut()
    busy_until = world.now + 1.0
    world.server.refuse = lambda _session, asked: (
        pb.ServerFrame(error=pb.Error(code="UNAVAILABLE", message="busy", retry_after_ms=500))
        if asked.HasField("send") and world.now < busy_until
        else None
    )
    world.run(60.0)
    places = {ticket: world.sent(ticket) for ticket in (1, 2)}
    assert places == {1: (to_ann, 1), 2: (to_bob, 1)}
    assert [len(world.server.rooms[name].messages) for name in (to_ann, to_bob)] == [1, 1]


def _lines_run(groups: int) -> int:
    """How much the core does until a device has read so many large groups that moved on while it was away."""
    world = World(1, Faults(), capacity=10 * groups)
    names = [f"g:{number}" for number in range(groups)]
    for name in names:
        world.server.group(name, ["me", "ann"], large=True)
        world.server.text("ann", name, "before")
    world.start()
    world.cut()
    for name in names:
        for number in range(3):
            world.server.text("ann", name, f"{number}")
    lines = 0

    def count(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        if "client/tidings/core" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        lines += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        world.run(30.0)
    finally:
        sys.settrace(before)
    assert len(world.shown) == 3 * groups
    return lines


def test_what_many_groups_cost_grows_with_their_number_and_not_with_its_square() -> None:
    assert _lines_run(160) < 5 * _lines_run(40)
