"""Reactions at the owner of their conversation: durable, counted, announced, whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.folding.shown import folded_state
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.reactions.store import LINGER_S, REMOVE_STEP
from services.storage.repository.memory import Faults
from services.storage.repository.reactions import AheadSet, ReactionSpan, ReactionWrite, StoredReaction
from services.storage.repository.records import CHANGE, StoredMessage
from tests.unit.storage.nodes import World, change, changed, create, post, react, recall, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable

Outcome = pb.StoreOutcome
CHAT, BOTH = "d:ann|bob", ("ann", "bob")
GATHER_S = 1.0


async def reacted(node: Storage, *items: pb.StoreItem) -> list[Outcome]:
    """The outcomes; a failure is raised."""
    outcomes: list[Outcome] = []
    for outcome in await node.reactions.react(items):
        if isinstance(outcome, TidingsError):
            raise outcome
        outcomes.append(outcome)
    return outcomes


async def chat(node: Storage) -> None:
    """A chat with one message, by ann."""
    await stored(node, send("ann", "bob", "m"))


def by(user: str, reaction: str = "+", *, removes: bool = False, client_id: str = "") -> pb.StoreItem:
    return react(CHAT, 1, user, reaction, removes=removes, client_id=client_id, recipients=BOTH)


def entries(world: World, conversation: str = CHAT) -> list[StoredMessage]:
    """The CHANGEs in the log."""
    return [each for _, each in sorted(world.database.messages[conversation].items()) if each.kind == CHANGE]


def log_says(world: World, conversation: str = CHAT, seq: int = 1) -> list[tuple[str, int]]:
    """What the target's document has of reactions."""
    state = folded_state(world.database.messages[conversation][seq]).state
    return [(each.reaction, each.count) for each in state.reactions]


def shown(outcome: Outcome) -> list[tuple[str, int, list[str]]]:
    """The reactions in an outcome's state."""
    state = client_pb2.State.FromString(outcome.state)
    return [(each.reaction, each.count, list(each.users)) for each in state.reactions]


def ones(pairs: Sequence[client_pb2.Change.Reacted.One]) -> list[tuple[str, str]]:
    return [(each.user, each.reaction) for each in pairs]


def there(world: World) -> list[StoredReaction]:
    """All that is known of reactions, gone or not."""
    return [each for users in world.database.reactions.values() for given in users.values() for each in given.values()]


async def later(world: World, node: Storage, seconds: float = GATHER_S) -> None:
    """So much later, what is due then is done."""
    world.clock.advance(seconds)
    await node.reactions.announce()


# ---- at once, and gathered


async def test_the_first_reaction_is_announced_at_once_by_an_entry_for_all() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        [outcome] = await reacted(node, by("bob"))
        assert outcome.status == Outcome.STORED
        assert outcome.seq == 2
        assert shown(outcome) == [("+", 1, ["bob"])]
        message = client_pb2.Message.FromString(outcome.message)
        assert (message.sender, message.kind, message.seq, message.client_id) == ("bob", CHANGE, 2, "")
        assert message.change.seq == 1
        assert ones(message.change.reacted.added) == [("bob", "+")]
        assert message.state == client_pb2.State.FromString(outcome.state)
        assert message.state.revision == 2
        # Aligned with the recipients of the item: both have got the message and the entry.
        assert list(outcome.numbers) == [2, 2]
        assert world.told_by["one"] == [], "logic tells it, which asked"
        assert log_says(world) == [("+", 1)]


async def test_what_comes_soon_after_is_gathered_and_told_by_one_entry() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        outcomes = [*await reacted(node, by("ann")), *await reacted(node, by("ann", "-"), by("bob", removes=True))]
        assert [outcome.seq for outcome in outcomes] == [0, 0, 0]
        assert shown(outcomes[0]) == [("+", 2, ["bob", "ann"])]
        assert shown(outcomes[2]) == [("+", 1, ["ann"]), ("-", 1, ["ann"])]
        assert log_says(world) == [("+", 1)], "as of the newest entry"
        await later(world, node, GATHER_S - 0.1)
        assert world.told_by["one"] == []
        await later(world, node, 0.1)
        [told] = world.told_by["one"]
        message = client_pb2.Message.FromString(told.message)
        assert (message.sender, message.seq) == ("bob", 3)
        assert ones(message.change.reacted.added) == [("ann", "+"), ("ann", "-")]
        assert ones(message.change.reacted.removed) == [("bob", "+")]
        assert (list(told.recipients), list(told.numbers)) == (["ann", "bob"], [3, 3])
        assert [each.seq for each in entries(world)] == [2, 3]
        assert log_says(world) == [("+", 1), ("-", 1)]


async def test_after_a_quiet_while_the_next_one_is_told_at_once_again() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        world.clock.advance(GATHER_S)
        [outcome] = await reacted(node, by("ann"))
        assert outcome.seq == 3


async def test_of_several_at_once_the_last_one_is_answered_with_the_entry() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        first, last = await reacted(node, by("ann"), by("bob"))
        assert (first.seq, last.seq) == (0, 2)
        assert shown(first) == shown(last) == [("+", 2, ["ann", "bob"])]
        assert client_pb2.Message.FromString(last.message).sender == "bob"


async def test_what_is_back_as_it_was_is_not_announced() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        await reacted(node, by("ann"), by("ann", removes=True))
        await later(world, node)
        assert len(entries(world)) == 1


async def test_by_its_own_clock_the_owner_announces_without_being_asked() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, reaction_gather_s=0.02))
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        await reacted(node, by("ann"))
        world.clock.advance(1.0)
        async with asyncio.timeout(5):
            while len(entries(world)) < 2:  # noqa: ASYNC110 - the owner's own timer is waited for
                await asyncio.sleep(0.01)


# ---- repeats


async def test_a_repeat_changes_nothing_and_makes_no_entry() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob", client_id="a"))
        world.clock.advance(GATHER_S)
        [again] = await reacted(node, by("bob", client_id="b"))
        assert (again.status, again.seq) == (Outcome.STORED, 0)
        assert shown(again) == [("+", 1, ["bob"])]
        await later(world, node)
        assert len(entries(world)) == 1


async def test_a_retry_is_answered_with_the_entry_that_tells_of_it() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        [first] = await reacted(node, by("bob"))
        [retry] = await reacted(node, by("bob"))
        assert retry.status == Outcome.DUPLICATE
        assert (retry.seq, list(retry.numbers), retry.message) == (first.seq, list(first.numbers), first.message)
        [gathered] = await reacted(node, by("ann"))
        [unknown] = await reacted(node, by("ann"))
        assert gathered.seq == unknown.seq == 0
        await later(world, node)
        [known] = await reacted(node, by("ann"))
        assert (known.status, known.seq) == (Outcome.DUPLICATE, 3)


async def test_a_late_copy_of_an_act_changes_nothing_any_more() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await chat(one)
        gives, takes = by("bob", client_id="a"), by("bob", removes=True, client_id="b")
        await reacted(one, gives)
        await reacted(one, takes)
        [copy] = await reacted(two, gives)
        assert (copy.status, shown(copy)) == (Outcome.STORED, [])
        assert [each.gone for each in there(world)] == [True]
        [again] = await reacted(two, by("bob", client_id="c"))
        assert shown(again) == [("+", 1, ["bob"])], "another act is another one"
        [copy] = await reacted(one, takes)
        assert [each.gone for each in there(world)] == [False]


async def test_a_client_id_of_a_send_is_refused() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        [outcome] = await reacted(node, by("ann", client_id="m"))
        assert (outcome.status, outcome.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")


# ---- groups


async def test_a_decision_on_a_former_version_of_a_group_is_stale() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await stored(node, post("g:1", "ann", "m", 1, ["ann", "bob"]))
        await changed(node, change("g:1", "ann", "op", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
        stale, fresh = await reacted(node, react("g:1", 2, "bob", version=1), react("g:1", 2, "ann", version=2))
        assert stale.status == Outcome.STALE
        assert fresh.status == Outcome.STORED
        assert shown(fresh) == [("+", 1, ["ann"])]


async def test_what_was_gathered_is_told_to_all_who_are_members_then() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await stored(node, post("g:1", "ann", "m", 1, ["ann", "bob"]))
        for user in ("ann", "bob"):
            await reacted(node, react("g:1", 2, user, version=1, recipients=["ann", "bob"]))
        await changed(node, change("g:1", "ann", "op", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
        await later(world, node)
        [told] = world.told_by["one"]
        assert sorted(told.recipients) == ["ann", "bob", "cid"]
        assert 0 not in told.numbers


async def test_in_a_large_group_nobody_gets_an_inbox_entry() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob", large=True))
        await stored(node, post("g:1", "ann", "m", 1))
        [outcome] = await reacted(node, react("g:1", 2, "bob", version=1))
        assert outcome.seq == 3
        assert list(outcome.numbers) == []
        await reacted(node, react("g:1", 2, "ann", version=1))
        await later(world, node)
        [told] = world.told_by["one"]
        assert list(told.recipients) == []


# ---- nodes that die, and that do not know of each other


async def test_whoever_owns_the_conversation_next_announces_what_was_gathered() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        one = await world.crashed(stack)
        await chat(one)
        await reacted(one, by("bob"))
        await reacted(one, by("ann", "-"))
        world.hood.nodes.pop("one")
        async with world.node("two") as two:
            world.hood.owner_of = lambda _: "two"
            two.ring_changed(frozenset(range(4096)))
            await two.reactions.look()
            await later(world, two, 0.0)
            [told] = world.told_by["two"]
            message = client_pb2.Message.FromString(told.message)
            assert message.sender == "ann"
            assert ones(message.change.reacted.added) == [("ann", "-")]
            assert log_says(world) == [("+", 1), ("-", 1)]
            await later(world, two, LINGER_S)
            assert world.database.ahead == {}


async def test_a_node_that_starts_finds_what_all_have_left() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, reaction_gather_s=0.02))
    async with AsyncExitStack() as stack:
        one = await world.crashed(stack)
        await chat(one)
        await reacted(one, by("bob"))
        await reacted(one, by("bob", removes=True))
    assert log_says(world) == [("+", 1)]
    async with world.node(), asyncio.timeout(5):
        while log_says(world):  # noqa: ASYNC110 - the node's own timer is waited for
            await asyncio.sleep(0.01)
    message = client_pb2.Message.FromString(world.told_by["one"][-1].message)
    assert message.sender == "bob", "who acted first since the log was ahead"


async def test_two_owners_at_once_come_to_the_same_counts() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await chat(one)
        for number in range(4):
            await reacted(one, by("ann", f"r{number}"))
            await reacted(two, by("bob", f"r{number}"))
        for _ in range(4):
            for node in (one, two):
                await later(world, node)
        assert sorted(log_says(world)) == [(f"r{number}", 2) for number in range(4)]
        seqs = sorted(world.database.messages[CHAT])
        assert seqs == list(range(1, len(seqs) + 1))


async def test_both_owners_at_the_same_moment_too() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await chat(one)
        await asyncio.gather(reacted(one, by("ann")), reacted(two, by("bob")))
        for _ in range(4):
            for node in (one, two):
                await later(world, node)
        assert log_says(world) == [("+", 2)]


async def test_an_owner_whose_place_was_taken_is_told_and_counts_anew() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await chat(one)
        await reacted(one, by("ann"))
        await reacted(two, by("bob"))  # logic could not reach its owner
        await two.invalidation.flush()
        await later(world, one)
        [outcome] = await reacted(one, by("ann", "-"))
        assert shown(outcome) == [("+", 2, ["ann", "bob"]), ("-", 1, ["ann"])]


async def test_a_node_that_leaves_announces_what_has_gathered() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        await reacted(node, by("ann"))
    assert log_says(world) == [("+", 2)]
    assert world.database.ahead == {}
    assert len(world.told_by["one"]) == 1


async def test_a_note_that_another_node_took_away_is_made_again() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        await world.database.repository().reactions.mark([], [(CHAT, 1)])
        await node.conversations.forget([CHAT])
        await reacted(node, by("ann"))
        assert list(world.database.ahead) == [(CHAT, 1)]
        for _ in range(3):
            await later(world, node, LINGER_S)
        assert world.database.ahead == {}


async def test_a_note_that_nobody_knows_of_is_found_and_taken_away() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        for _ in range(3):
            await later(world, node, LINGER_S)
        await world.database.repository().reactions.mark([AheadSet(CHAT, 1, "ann")], [])
        await node.reactions.look()
        for _ in range(2):
            await later(world, node, LINGER_S)
        assert world.database.ahead == {}
        assert len(entries(world)) == 1


# ---- a database that is away


async def test_what_could_not_be_stored_is_not_answered_and_a_retry_is() -> None:
    world = World()
    faults = Faults()
    async with world.node(faults=faults) as node:
        await chat(node)
        faults.away = True
        with pytest.raises(Unavailable):
            await reacted(node, by("bob"))
        faults.away = False
        [outcome] = await reacted(node, by("bob"))
        assert outcome.seq == 2
        assert shown(outcome) == [("+", 1, ["bob"])]


async def test_an_unknown_outcome_is_counted_as_it_is() -> None:
    world = World()
    faults = Faults()
    async with world.node(faults=faults) as node:
        await chat(node)
        await reacted(node, by("bob"))
        await later(world, node, LINGER_S)
        await later(world, node, LINGER_S)
        lost = asyncio.Event()

        async def lose(name: str) -> None:
            if name == "reactions.write" and not lost.is_set():
                lost.set()
                faults.lose_answers(1)

        faults.delay = lose
        with pytest.raises(Unavailable):
            await reacted(node, by("ann"))
        faults.delay = None
        await later(world, node)
        assert log_says(world) == [("+", 2)], "it was stored all the same, and is announced"
        [retry] = await reacted(node, by("ann"))
        assert shown(retry) == [("+", 2, ["bob", "ann"])]


async def test_what_cannot_be_announced_now_is_durable_and_announced_later() -> None:
    world = World()
    faults = Faults()
    async with world.node(faults=faults) as node:
        await chat(node)

        async def no_inserts(name: str) -> None:
            if name == "messages.insert":
                raise Unavailable("away")

        faults.delay = no_inserts
        world.clock.advance(1.0)

        async def time_passes() -> None:
            while True:
                await asyncio.sleep(0)
                world.clock.advance(0.1)

        passing = asyncio.create_task(time_passes())
        [outcome] = await reacted(node, by("bob"))
        passing.cancel()
        assert (outcome.status, outcome.seq) == (Outcome.STORED, 0)
        assert shown(outcome) == [("+", 1, ["bob"])]
        faults.delay = None
        await later(world, node)
        assert log_says(world) == [("+", 1)]
        assert [each.sender for each in entries(world)] == ["bob"]


# ---- what goes with its message


async def test_a_recall_takes_the_set_and_nobody_reacts_any_more() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        await reacted(node, by("ann", "-"))
        [outcome] = await stored(node, recall(CHAT, 1, "ann", BOTH))
        assert outcome.status == Outcome.STORED
        await later(world, node, 0.0)
        assert there(world) == []
        assert world.database.ahead == {}
        [late] = await reacted(node, by("bob", "late"))
        assert (late.status, late.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        await later(world, node, LINGER_S)
        assert log_says(world) == []
        assert world.database.ahead == {}


async def test_a_set_of_thousands_goes_in_steps_and_is_noted_until_then() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        many = [StoredReaction(CHAT, 1, f"u{number}", "+", number, 1) for number in range(2 * REMOVE_STEP)]
        await world.database.repository().reactions.write(list(map(ReactionWrite, many)))
        await stored(node, recall(CHAT, 1, "ann", BOTH))
        assert world.database.ahead
        for _ in range(3):
            await later(world, node, 0.0)
        assert there(world) == []
        assert world.database.ahead == {}


async def test_a_node_that_died_after_a_recall_left_no_set_behind() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        one = await world.crashed(stack)
        await chat(one)
        await reacted(one, by("bob"))
        await stored(one, recall(CHAT, 1, "ann", BOTH))
    async with world.node() as node:
        await node.reactions.look()
        await later(world, node, 0.0)
        assert there(world) == []


async def test_a_reaction_that_meets_a_recall_is_refused_or_gone() -> None:
    """Both are under way at the same time, in lanes of their own."""
    for _ in range(10):
        world = World()
        async with world.node() as node:
            await chat(node)
            await asyncio.gather(reacted(node, by("bob")), stored(node, recall(CHAT, 1, "ann", BOTH)))
            for _ in range(3):
                await later(world, node, LINGER_S)
            assert log_says(world) == []
            assert there(world) == []
            assert world.database.ahead == {}


# ---- counts


async def test_when_the_first_take_it_back_others_move_up() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", large=True))
        await stored(node, post("g:1", "ann", "m", 1))
        users = [f"u{number}" for number in range(6)]
        await reacted(node, *(react("g:1", 2, user, version=1) for user in users))
        [outcome] = await reacted(node, react("g:1", 2, "u1", removes=True, version=1))
        assert shown(outcome) == [("+", 5, ["u0", "u2", "u3"])]
        outcomes = await reacted(node, *(react("g:1", 2, user, removes=True, version=1) for user in users[:5]))
        assert shown(outcomes[-1]) == [("+", 1, ["u5"])]


async def test_a_tally_that_is_read_again_is_the_one_that_was_known() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        acts = (
            ("ann", "+", False),
            ("bob", "-", False),
            ("bob", "+", False),
            ("ann", "+", True),
            ("ann", "!", False),
            ("bob", "-", True),
            ("ann", "-", False),
        )
        *_, [outcome] = [await reacted(node, by(user, given, removes=removes)) for user, given, removes in acts]
        warm = shown(outcome)
        await node.conversations.forget([CHAT])
        [cold] = await reacted(node, by("ann", "-", client_id="again"))
        assert shown(cold) == warm == [("+", 1, ["bob"]), ("!", 1, ["ann"]), ("-", 1, ["ann"])]
        page = await world.database.repository().reactions.page(ReactionSpan(CHAT, 1))
        assert [(each.user, each.reaction) for each in page] == [("bob", "+"), ("ann", "!"), ("ann", "-")]


async def test_a_set_is_noted_only_while_it_may_be_ahead() -> None:
    world = World()
    async with world.node() as node:
        await chat(node)
        await reacted(node, by("bob"))
        assert list(world.database.ahead) == [(CHAT, 1)]
        await later(world, node, GATHER_S)
        assert world.database.ahead, "another one may come soon"
        await later(world, node, LINGER_S)
        assert world.database.ahead == {}
        assert node.reactions.waiting == 0
