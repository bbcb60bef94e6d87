"""Whatever the network does to pushes and pages, what the application holds ends as the server's."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.virtual_net import Faults, World
from tidings import ChangeAct, Message, MessageChanged, folded, newer
from tidings_protocol import client_pb2 as pb

CHANCE = st.floats(0.0, 0.4)
FAULTS = st.builds(Faults, lose=CHANCE, repeat=CHANCE, delay=CHANCE, refuse=CHANCE)
OTHERS = ("ann", "bob", "cleo")
SMALL, LARGE = "g:small", "g:large"
REACTIONS = ("👍", "❤", "😀")

Held = dict[tuple[str, int], Message]


def _world(seed: int, faults: Faults, **options: Any) -> World:
    world = World(seed, faults, **options)
    everyone = ["me", *OTHERS]
    world.server.group(SMALL, everyone)
    world.server.group(LARGE, everyone, large=True)
    world.start()
    while world.client.saved() is None:
        world.run(1.0)
    return world


def _some_message(world: World) -> pb.Message | None:
    rooms = [room for room in world.server.rooms.values() if "me" in room.members and room.messages]
    if not rooms:
        return None
    room = world.random.choice(rooms)
    plain = [message for message in room.messages if message.kind == pb.Message.NORMAL]
    return world.random.choice(plain[-5:])


def _act(world: World, message: pb.Message, number: int, *, mine: bool) -> pb.Change:
    """A change that this user may make: what is edited or recalled is the user's own."""
    change = pb.Change(conversation=message.conversation, seq=message.seq)
    own = (message.sender == "me") == mine
    kinds = ["react", "unreact", "pin", *(["edit", "edit", "recall"] if own else [])]
    match world.random.choice(kinds):
        case "edit":
            change.edit.text = f"edited {number}"
        case "recall":
            change.recall.SetInParent()
        case "react":
            change.react = world.random.choice(REACTIONS)
        case "unreact":
            change.unreact = world.random.choice(REACTIONS)
        case _:
            change.pin = world.random.random() < 0.5
    return change


def _others_change(world: World, number: int) -> None:
    message = _some_message(world)
    if message is None:
        return
    change = _act(world, message, number, mine=False)
    own = change.WhichOneof("act") in ("edit", "recall")
    user = message.sender if own else world.random.choice([*world.server.room(message.conversation).members])
    change.client_id = f"other {number}"
    with contextlib.suppress(PermissionError):  # it is recalled
        world.server.changes.change(user, change)


def _live(world: World, rounds: int) -> None:  # noqa: C901  # one case for each thing that happens
    """Everyone writes and changes what was written, the connection breaks now and then, the application stalls."""
    server, random = world.server, world.random
    rooms = [world.me_to("bob"), SMALL, LARGE]
    asked: set[int] = set()
    for number in range(rounds):
        match random.choices(
            ("others", "me", "they change", "I change", "gather", "announce", "cut", "stall", "pause", "restart"),
            (30, 8, 40, 15, 2, 5, 4, 4, 2, 2),
        )[0]:
            case "others":
                room = random.choice(rooms)
                server.text(
                    random.choice([user for user in server.room(room).members if user != "me"]), room, f"{number}"
                )
            case "me":
                asked.add(world.send(random.choice(rooms), f"mine {number}"))
            case "they change":
                _others_change(world, number)
            case "I change":
                message = _some_message(world)
                if message is not None:
                    asked.add(world.change(_act(world, message, number, mine=True)))
            case "gather":
                server.changes.gathering = not server.changes.gathering
            case "announce":
                server.changes.announce()
            case "cut":
                world.cut()
            case "stall":
                world.reading = not world.reading
            case "pause" if world.session is not None:
                server.pause(world.session)
            case "restart" if not asked - set(world.outcomes):
                world.restart()
            case _:
                pass
        world.run(random.choice((0.0, 0.001, 0.05, 0.3, 1.0)))
    server.changes.gathering = False
    server.changes.announce()


def _held(events: list[Message | MessageChanged]) -> Held:
    """What an application that keeps what it is told holds at the end."""
    held: Held = {}
    for event in events:
        place = (event.conversation, event.seq)
        match event:
            case Message():
                held[place] = newer(held.get(place, event), event, "me")
            case MessageChanged(message=None) if place in held:
                held[place] = folded(held[place], event, "me")
            case MessageChanged(message=Message() as message) if place in held:
                held[place] = newer(held[place], message, "me")
            case _:
                pass
    return held


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS, capacity=st.sampled_from([3, 10, 50]))
def test_what_the_application_holds_ends_as_the_servers(seed: int, faults: Faults, capacity: int) -> None:
    world = _world(seed, faults, capacity=capacity)
    _live(world, 80)
    world.calm()
    world.reading = True
    world.run(120.0)

    held = _held(world.events)
    assert all(not isinstance(event, Message) or event.text or event.recalled for event in world.events)
    for (conversation, seq), message in held.items():
        there = Message.from_proto(world.server.changes.shown(world.server.rooms[conversation], seq, "me"))
        if message.recalled:
            assert there.recalled, (conversation, seq)
            assert message.text == there.text == ""
        else:
            assert message == there, (conversation, seq)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), faults=FAULTS, capacity=st.sampled_from([3, 50]))
def test_each_change_is_told_once_and_in_order_own_ones_too(seed: int, faults: Faults, capacity: int) -> None:
    world = _world(seed, faults, capacity=capacity)
    _live(world, 60)
    world.calm()
    world.reading = True
    world.run(120.0)

    for name, room in world.server.rooms.items():
        places = [
            event.change_seq if isinstance(event, MessageChanged) else event.seq
            for event in world.events
            if event.conversation == name
        ]
        assert places == sorted(set(places)), name
        changes = [message.seq for message in room.messages if message.kind == pb.Message.CHANGE]
        told = set(places)
        # Only edits may be passed over: those after which there was another, or a recall.
        missing = [seq for seq in changes if seq not in told and seq > room.members["me"]]
        assert {room.messages[seq - 1].change.WhichOneof("act") for seq in missing} <= {"edit"}, name


def _quiet() -> World:
    return _world(1, Faults())


def test_a_change_is_told_with_the_message_after_it() -> None:
    world = _quiet()
    world.server.text("ann", SMALL, "one")
    world.server.changes.change("ann", pb.Change(client_id="e", conversation=SMALL, seq=1, edit=pb.Content(text="two")))
    world.run(1.0)
    first, change = world.events
    assert isinstance(first, Message)
    assert isinstance(change, MessageChanged)
    assert (change.act, change.by, change.seq, change.change_seq) == (ChangeAct.EDIT, "ann", 1, 2)
    assert change.message is not None
    assert (change.message.text, change.message.edited) == ("two", True)
    assert world.acks[-1][1] == 2  # a change is held like a message


def test_a_message_that_waits_for_the_application_comes_as_it_is_now() -> None:
    world = _quiet()
    world.reading = False
    world.server.text("ann", SMALL, "one")
    world.server.changes.change("ann", pb.Change(client_id="r", conversation=SMALL, seq=1, recall=pb.Change.Recall()))
    world.run(1.0)
    world.reading = True
    world.run(20.0)
    (message,) = world.shown
    assert (message.text, message.recalled) == ("", True)


def test_what_is_hidden_counts_as_held_and_is_not_told() -> None:
    world = _quiet()
    world.server.text("ann", SMALL, "one")
    world.run(1.0)
    world.server.changes.hide("me", SMALL, [1], 0, None)
    world.server.changes.change("ann", pb.Change(client_id="e", conversation=SMALL, seq=1, edit=pb.Content(text="two")))
    world.server.text("ann", SMALL, "three")
    world.run(1.0)
    assert [event.seq for event in world.events] == [1, 3]
    assert world.acks[-1][1] == 3


def test_a_change_whose_answer_was_lost_is_made_once() -> None:
    world = _quiet()
    ticket = world.send(SMALL, "one")
    world.run(1.0)
    edit = world.change(pb.Change(conversation=SMALL, seq=1, edit=pb.Content(text="two")))
    world.run(0.003)  # stored, and the answer is on the way
    world.cut()
    world.run(10.0)
    assert world.sent(ticket) == (SMALL, 1)
    assert world.sent(edit) == (SMALL, 2)
    assert world.server.rooms[SMALL].head == 2
    (change,) = world.events
    assert isinstance(change, MessageChanged)
    assert change.by == "me"


def test_a_change_keeps_its_order_with_sends() -> None:
    world = _quiet()
    world.send(SMALL, "one")
    world.run(1.0)
    world.cut()
    world.change(pb.Change(conversation=SMALL, seq=1, edit=pb.Content(text="two")))
    world.send(SMALL, "three")
    world.change(pb.Change(conversation=SMALL, seq=1, recall=pb.Change.Recall()))
    world.run(10.0)
    entries = world.server.rooms[SMALL].messages
    kinds = [entry.change.WhichOneof("act") or entry.content.text for entry in entries]
    assert kinds == ["two", "edit", "three", "recall"]
