"""A server whose pushes are late is not asked for what is on its way; what is really lost is asked for soon."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.virtual_net import Faults, World
from tidings.core.messages.feed import Feed
from tidings.core.messages.gap_time import CEILING_S, FLOOR_S
from tidings.core.messages.wants import WantSync
from tidings.state import SavedState
from tidings_protocol import client_pb2 as pb

LARGE = "g:large"


def _world() -> World:
    world = World(1, Faults(), capacity=1000)
    world.server.page_max = 100
    world.start()
    return world


def _asked(world: World, kind: str) -> list[float]:
    """When the client asks for pages of this kind, from now on."""
    times: list[float] = []

    def note(_session: object, frame: pb.ClientFrame) -> None:
        if frame.HasField(kind):  # type: ignore[arg-type]
            times.append(world.now)

    world.server.refuse = note
    return times


def _takes(*, answer_s: float, push_s: float) -> Callable[[pb.ServerFrame], float]:
    return lambda frame: push_s if frame.HasField("deliver") else answer_s


def _talk(world: World, rounds: int, pause_s: float = 0.25) -> None:
    """Ann writes, and so does this client, elsewhere: the answer to that tells that something of Ann's is missing."""
    for number in range(rounds):
        world.server.text("ann", world.me_to("ann"), f"{number}")
        world.send(world.me_to("bob"), f"mine {number}")
        world.run(pause_s)


def _texts(world: World) -> list[str]:
    return [message.text for message in world.shown]


def test_pushes_that_are_late_beside_answers_that_are_late_too_cost_no_sync() -> None:
    world = _world()
    world.takes_s = _takes(answer_s=0.3, push_s=0.9)
    syncs = _asked(world, "sync")
    _talk(world, 200)
    world.run(5.0)
    assert syncs == []
    assert _texts(world) == [str(number) for number in range(200)]


def test_pushes_that_are_late_beside_answers_that_are_not_cost_syncs_at_the_beginning_alone() -> None:
    world = _world()
    world.takes_s = _takes(answer_s=0.01, push_s=1.5)
    syncs = _asked(world, "sync")
    _talk(world, 200)
    world.run(5.0)
    assert 1 <= len(syncs) <= 3
    assert max(syncs) - min(syncs) < 1.5
    assert _texts(world) == [str(number) for number in range(200)]


def test_a_pong_that_tells_of_a_push_on_its_way_costs_no_sync_once_it_is_known_how_late_pushes_are() -> None:
    """A client that only listens learns by what comes after all."""
    world = _world()
    world.takes_s = _takes(answer_s=0.01, push_s=1.0)
    syncs = _asked(world, "sync")
    for number in range(60):
        world.server.text("ann", world.me_to("ann"), f"{number}")
        world.ping()
        world.run(1.3)
    assert len(syncs) == 1
    assert _texts(world) == [str(number) for number in range(60)]


def test_pushes_of_a_large_group_that_come_late_cost_pages_at_the_beginning_alone() -> None:
    world = _world()
    world.server.group(LARGE, ["me", "ann"], large=True)
    world.server.text("ann", LARGE, "first")
    world.run(2.0)
    world.takes_s = _takes(answer_s=0.01, push_s=1.0)
    pages = _asked(world, "history")
    for number in range(60):
        world.server.text("ann", LARGE, f"{number}")
        world.ping()
        world.run(1.3)
    assert len(pages) == 1
    assert _texts(world) == ["first", *(str(number) for number in range(60))]


def test_a_lost_push_is_asked_for_after_a_moment_where_pushes_are_fast() -> None:
    world = _world()
    _talk(world, 20)
    syncs = _asked(world, "sync")
    _lose_one(world)
    seen_at = world.now
    world.server.text("ann", world.me_to("ann"), "shows the gap")
    world.run(1.0)
    assert len(syncs) == 1
    assert syncs[0] - seen_at < 1.5 * FLOOR_S
    assert _texts(world)[-2:] == ["lost", "shows the gap"]


@pytest.mark.parametrize("push_s", [0.9, 2.0, 8.0])
def test_a_lost_push_is_asked_for_within_the_ceiling_however_slow_the_server_is(push_s: float) -> None:
    world = _world()
    world.takes_s = _takes(answer_s=0.3, push_s=push_s)
    _talk(world, 40)
    world.run(10.0)
    syncs = _asked(world, "sync")
    _lose_one(world)
    world.server.text("ann", world.me_to("ann"), "shows the gap")
    world.run(push_s)
    seen_at = world.now
    world.run(10.0)
    assert len(syncs) == 1
    assert syncs[0] - seen_at <= CEILING_S + 0.01
    assert _texts(world)[-2:] == ["lost", "shows the gap"]


def test_where_every_second_push_is_lost_each_is_asked_for_within_the_ceiling() -> None:
    world = _world()
    for number in range(40):
        world.lose = lambda frame, lost=number % 2: bool(lost) and frame.HasField("deliver")  # type: ignore[misc]
        world.server.text("ann", world.me_to("ann"), f"{number}")
        world.run(0.5)
        if number % 2 == 0:
            world.run(CEILING_S)
            assert _texts(world) == [str(before) for before in range(number + 1)]


def test_a_sync_beside_which_pushes_closed_the_gap_does_not_count_as_one_that_brought_nothing() -> None:
    feed = Feed(SavedState("me", "phone", "e", 0, {}), lambda _message: False, capacity=50)
    feed.welcome(pb.Welcome(user="me", epoch="e"), 0.0)
    feed.deliver([_entry(2)], 0.0)
    (want,) = feed.wants(FLOOR_S)
    assert isinstance(want, WantSync)
    feed.deliver([_entry(1), _entry(4)], FLOOR_S)
    feed.synced(want, pb.Page(next=0, head=4), 1.0)
    assert feed.next_wake() == pytest.approx(1.0 + FLOOR_S + 4 * FLOOR_S / 2)


def test_a_heartbeat_that_is_shorter_than_the_ceiling_bounds_it() -> None:
    feed = Feed(SavedState("me", "phone", "e", 0, {}), lambda _message: False, capacity=50)
    feed.welcome(pb.Welcome(user="me", epoch="e", heartbeat_s=1), 0.0)
    feed.answered(9.0, 5.0)
    feed.deliver([_entry(2)], 6.0)
    assert feed.next_wake() == 7.0


def test_what_an_application_that_does_not_read_had_to_let_go_is_no_sample() -> None:
    world = World(1, Faults(), capacity=5)
    world.start()
    world.reading = False
    for number in range(30):
        world.server.text("ann", world.me_to("ann"), f"{number}")
        world.run(1.0)
    world.reading = True
    world.run(60.0)
    assert _texts(world) == [str(number) for number in range(30)]
    syncs = _asked(world, "sync")
    world.server.text("ann", world.me_to("ann"), "in order")
    world.run(1.0)
    _lose_one(world)
    seen_at = world.now
    world.server.text("ann", world.me_to("ann"), "shows the gap")
    world.run(5.0)
    assert [time - seen_at < 1.5 * FLOOR_S for time in syncs] == [True]


def test_what_a_device_was_behind_at_its_welcome_tells_nothing_of_pushes() -> None:
    world = _world()
    names = [f"g:{number}" for number in range(12)]
    for name in names:
        world.server.group(name, ["me", "ann"], large=True)
        world.server.text("ann", name, "before")
    world.run(5.0)
    world.cut()
    for name in names:
        world.server.text("ann", name, "meanwhile")
    world.run(5.0)
    assert len(world.shown) == 2 * len(names)
    syncs = _asked(world, "sync")
    _lose_one(world)
    seen_at = world.now
    world.server.text("ann", world.me_to("ann"), "shows the gap")
    world.run(5.0)
    assert [time - seen_at < 1.5 * FLOOR_S for time in syncs] == [True]


def test_while_a_sync_is_unanswered_no_other_is_asked() -> None:
    world = _world()
    syncs = _asked(world, "sync")
    world.takes_s = lambda frame: 8.0 if frame.HasField("page") else 0.002
    _lose_one(world)
    for number in range(30):
        world.server.text("ann", world.me_to("ann"), f"{number}")
        world.run(0.25)
    assert len(syncs) == 1
    world.run(10.0)
    assert _texts(world) == ["lost", *(str(number) for number in range(30))]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    answer_s=st.floats(0.001, 2.0),
    push_s=st.floats(0.001, 6.0),
    jitter=st.floats(0.0, 1.0),
    lose=st.floats(0.0, 0.3),
)
def test_however_late_and_lossy_the_server_is_each_message_is_shown_once_and_in_order(
    seed: int, answer_s: float, push_s: float, jitter: float, lose: float
) -> None:
    world = World(seed, Faults(lose=lose), capacity=20)
    world.server.group(LARGE, ["me", "ann"], large=True)
    world.start()
    world.takes_s = lambda frame: (
        (push_s if frame.HasField("deliver") else answer_s) * (1 + jitter * world.random.random())
    )
    rooms = (world.me_to("ann"), LARGE)
    for number in range(40):
        world.server.text("ann", world.random.choice(rooms), f"{number}")
        if number % 3 == 0:
            world.send(world.random.choice([world.me_to("bob"), LARGE]), f"mine {number}")
        world.run(world.random.choice((0.0, 0.1, 1.0)))
    world.calm()
    world.run(60.0)
    for room in rooms:
        shown = [message.seq for message in world.shown if message.conversation == room]
        written = [message.seq for message in world.server.rooms[room].messages if message.sender == "ann"]
        assert shown == written


def _lose_one(world: World) -> None:
    world.lose = lambda frame: frame.HasField("deliver")
    world.server.text("ann", world.me_to("ann"), "lost")
    world.lose = lambda _frame: False


def _entry(number: int) -> pb.Entry:
    message = pb.Message(conversation="d:ann|me", seq=number, sender="ann", kind=pb.Message.NORMAL)
    return pb.Entry(number=number, message=message)
