"""Whatever the network does to the server's frames, the application sees each message once and in order."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.virtual_net import Faults, World
from tidings_protocol.errors import TidingsError

CHANCE = st.floats(0.0, 0.4)
FAULTS = st.builds(Faults, lose=CHANCE, repeat=CHANCE, delay=CHANCE, refuse=CHANCE)

OTHERS = ("ann", "bob", "cleo")
SMALL, LARGE = "g:small", "g:large"


def _talk(world: World, rounds: int, *, kills: bool = False) -> list[int]:
    """Everyone writes, the connection breaks now and then, the application stalls and goes on. The client's tickets.

    `kills`: where the process starts again, it was killed at its work.
    """
    server, random = world.server, world.random
    rooms = [world.me_to("bob"), world.me_to("ann"), SMALL, LARGE]
    tickets: list[int] = []
    for number in range(rounds):
        room = random.choice(rooms)
        match random.choices(
            ("others", "me", "cut", "stall", "pause", "nudge", "restart", "other device", "added"),
            (60, 15, 4, 6, 2, 2, 2, 5, 2),
        )[0]:
            case "others":
                writer = random.choice([user for user in server.room(room).members if user != "me"])
                server.text(writer, room, f"{number}")
            case "me" if not server.room(room).shared:  # a send moves the place from where on the user reads
                tickets.append(world.send(room, f"mine {number}"))
            case "cut":
                world.cut()
            case "stall":
                world.reading = not world.reading
            case "pause" if world.session is not None:
                server.pause(world.session)
            case "nudge" if world.session is not None:
                server.nudge(world.session)
            case "restart" if not set(tickets) - set(world.outcomes):
                (world.kill if kills else world.restart)()
            case "other device":
                if not server.room(room).shared:
                    server.text("me", room, f"mine, elsewhere {number}")
            case "added":
                rooms.append(_added(world, f"g:new-{number}", shared=random.random() < 0.5))
            case _:
                pass
        world.run(random.choice((0.0, 0.001, 0.05, 0.3, 1.0)))
    return tickets


def _added(world: World, name: str, *, shared: bool) -> str:
    """Somebody adds the user to a large group that has messages already."""
    room = world.server.group(name, list(OTHERS), large=True)
    room.shared = shared
    for number in range(world.random.randrange(3)):
        world.server.text("bob", name, f"before {number}")
    room.members["me"] = room.head
    return name


def _world(seed: int, faults: Faults, capacity: int, **options: Any) -> World:
    world = World(seed, faults, capacity=capacity, **options)
    everyone = ["me", *OTHERS]
    world.server.group(SMALL, everyone)
    world.server.group(LARGE, everyone, large=True)
    for number in range(world.random.randrange(4)):
        world.server.text("bob", world.me_to("bob"), f"before {number}")
        world.server.text("bob", LARGE, f"before {number}")
    world.start()
    while world.client.saved() is None:
        world.run(1.0)
    return world


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS, capacity=st.sampled_from([3, 10, 50]))
def test_each_message_is_shown_once_and_in_order_whatever_is_lost_repeated_or_mixed_up(
    seed: int, faults: Faults, capacity: int
) -> None:
    world = _world(seed, faults, capacity, clock_jumps=True)
    start = {name: room.head for name, room in world.server.rooms.items()}

    tickets = _talk(world, 60)
    world.calm()
    world.reading = True
    world.run(120.0)

    attempts = world.server.attempts
    assert all(later > earlier for earlier, later in pairwise(attempts))
    mine = {f"c{ticket}" for ticket in tickets}
    for name, room in world.server.rooms.items():
        first = max(start.get(name, 0), room.members["me"])
        shown = [message.seq for message in world.shown if message.conversation == name]
        # What this device sent itself is not shown, unless it was restarted before it had taken all before it.
        optional = {message.seq for message in room.messages if message.client_id in mine} if world.restarts else set()
        expected = [message.seq for message in room.messages if message.seq > first and message.client_id not in mine]
        assert shown == sorted(set(shown)), name
        assert [seq for seq in shown if seq not in optional] == expected, name


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS, capacity=st.sampled_from([3, 50]), burst=st.integers(1, 60))
def test_wherever_retention_took_messages_a_device_comes_to_what_is_left(
    seed: int, faults: Faults, capacity: int, burst: int
) -> None:
    world = _world(seed, faults, capacity)
    server, random = world.server, world.random
    start = {name: room.head for name, room in server.rooms.items()}
    rooms = [world.me_to("bob"), world.me_to("ann"), SMALL, LARGE]
    for _ in range(4):
        world.reading = random.random() < 0.7
        world.cut()
        for number in range(random.randrange(burst)):
            place = random.choice(rooms)
            server.text("ann" if "ann" in place else "bob", place, f"{number}")
        for name in random.sample(rooms, 2):
            server.gone[name] = random.randint(server.gone.get(name, 0), server.room(name).head)
        world.run(random.choice((0.01, 1.0, 20.0)))
    world.calm()
    world.reading = True
    world.run(120.0)

    for name, room in server.rooms.items():
        shown = [message.seq for message in world.shown if message.conversation == name]
        assert shown == sorted(set(shown)), name
        left = range(max(start.get(name, 0), server.gone.get(name, 0)) + 1, room.head + 1)
        assert set(left) <= set(shown), name


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    faults=FAULTS,
    capacity=st.sampled_from([3, 10, 50]),
    work_s=st.sampled_from([0.001, 0.2, 1.5]),
)
def test_what_a_killed_process_was_at_work_on_comes_again_and_nothing_is_lost(
    seed: int, faults: Faults, capacity: int, work_s: float
) -> None:
    world = _world(seed, faults, capacity, work_s=work_s)
    start = {name: room.head for name, room in world.server.rooms.items()}

    tickets = _talk(world, 60, kills=True)
    world.calm()
    world.reading = True
    world.run(300.0)

    mine = {f"c{ticket}" for ticket in tickets}
    for name, room in world.server.rooms.items():
        first = max(start.get(name, 0), room.members["me"])
        handled = {message.seq for message in world.handled if message.conversation == name}
        missing = {
            message.seq for message in room.messages if message.seq > first and message.client_id not in mine
        } - handled
        assert not missing, name
    lives = Counter((message.conversation, message.seq) for message in world.shown)
    assert max(lives.values(), default=1) <= 1 + world.restarts
    assert all(later > earlier for earlier, later in pairwise(world.server.attempts))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS)
def test_each_send_is_stored_once_in_the_order_sent_and_told_its_place(seed: int, faults: Faults) -> None:
    world = _world(seed, faults, 50)

    tickets = _talk(world, 60)
    world.calm()
    world.reading = True
    world.run(120.0)

    for ticket in tickets:
        outcome = world.outcomes[ticket]
        assert not isinstance(outcome, TidingsError)
        stored = world.server.rooms[outcome.sent.conversation].messages[outcome.sent.seq - 1]
        assert stored.client_id == f"c{ticket}"
        assert stored.message_id == outcome.sent.message_id
    for room in world.server.rooms.values():
        mine = [int(message.client_id[1:]) for message in room.messages if message.client_id]
        assert mine == sorted(mine)
        assert max(Counter(mine).values(), default=1) == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS)
def test_acknowledgements_are_rare_ascend_and_never_pass_what_was_taken(seed: int, faults: Faults) -> None:
    world = _world(seed, faults, 10)
    _talk(world, 60)

    times = [time for time, _ in world.acks]
    numbers = [number for _, number in world.acks]
    assert numbers == sorted(numbers)
    assert world.connections > 1 or all(later - earlier > 0.199 for earlier, later in pairwise(times))
    shown = {(message.conversation, message.seq) for message in world.shown}
    for conversation, seq in world.server.inboxes.get("me", [])[: max(numbers, default=0)]:
        message = world.server.rooms[conversation].messages[seq - 1]
        assert (conversation, seq) in shown or message.client_id or message.content.text.startswith("before")
