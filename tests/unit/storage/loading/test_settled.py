"""`sent` means in every inbox: a repeat is answered only when all that follows from its message is durable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.inboxes.numbering import Append
from services.storage.inboxes.writer import Number
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from services.storage.repository.records import ClientKey
from tests.unit.storage.nodes import World, change, changed, create, inbox_of, post, send, stored
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import slot_of

Outcome = pb.StoreOutcome


@asynccontextmanager
async def half_done(
    world: World, warm: Sequence[pb.StoreItem], items: Sequence[pb.StoreItem]
) -> AsyncIterator[Storage]:
    """The owner, which has the conversations of `warm` in memory; another node has stored `items` in its place and died
    before their inbox entries.
    """
    world.hood.owner_of = lambda _: "owner"
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(world.node("owner"))
        await stored(owner, *warm)
        faults = Faults()
        other = await stack.enter_async_context(world.node("other", faults=faults))
        world.hood.unreachable.add("owner")

        async def dies(command: str) -> None:
            if command == "inbox.insert":
                faults.away = True

        faults.delay = dies
        await other.conversations.store(items)
        world.hood.unreachable.discard("owner")
        yield owner


async def test_a_repeat_beside_a_conflict_in_another_conversation_is_in_every_inbox() -> None:
    warm = [send("x1", "x2", "first"), send("ann", "bob", "first")]
    lost = [send("x1", "x2", "other"), send("ann", "bob", "mine")]
    async with half_done(World(), warm, lost) as owner:
        outcomes = await stored(owner, send("x2", "x1", "new"), send("ann", "bob", "mine"))
        assert (outcomes[1].status, outcomes[1].seq, list(outcomes[1].numbers)) == (Outcome.DUPLICATE, 2, [2, 2])
        assert await inbox_of(owner, "bob") == [(1, "d:ann|bob", 1), (2, "d:ann|bob", 2)]
        assert await inbox_of(owner, "x2") == [(1, "d:x1|x2", 1), (2, "d:x1|x2", 2), (3, "d:x1|x2", 3)]


async def test_a_repeat_of_which_only_its_client_id_is_remembered_is_in_every_inbox() -> None:
    """The owner found the client id once, and then lost all that it had of the conversation but an old picture."""
    async with half_done(World(), [send("ann", "bob", "first")], [send("ann", "bob", "mine")]) as owner:
        owner.conversations._recent.add(key_of(send("ann", "bob", "mine")), 2)
        (outcome,) = await stored(owner, send("ann", "bob", "mine"))
        assert (outcome.status, list(outcome.numbers)) == (Outcome.DUPLICATE, [2, 2])
        assert await inbox_of(owner, "bob") == [(1, "d:ann|bob", 1), (2, "d:ann|bob", 2)]


async def test_the_same_message_twice_in_one_batch_fails_twice_if_its_entries_fail() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))

        async def no_inboxes(command: str) -> None:
            if command == "inbox.insert":
                raise Unavailable("away")

        world.database.faults.delay = no_inboxes
        outcomes = await stored(node, send("ann", "bob", "warm"), send("ann", "bob", "x"), send("ann", "bob", "x"))
        assert [each.status for each in outcomes] == [Outcome.DUPLICATE, Outcome.FAILED, Outcome.FAILED]
        assert {each.fault.code for each in outcomes[1:]} == {"UNAVAILABLE"}
        world.database.faults.delay = None
        (again,) = await stored(node, send("ann", "bob", "x"))
        assert (again.status, list(again.numbers)) == (Outcome.DUPLICATE, [2, 2])


async def test_a_repeat_whose_conversation_cannot_be_settled_is_not_answered_as_sent() -> None:
    warm = [send("x1", "x2", "first"), send("ann", "bob", "first")]
    lost = [send("x1", "x2", "other"), send("ann", "bob", "mine")]
    world = World()
    async with half_done(world, warm, lost) as owner:
        bob = slot_of("bob")
        world.hood.owner_of = lambda slot: "gone" if slot == bob else "owner"
        append = owner.inboxes.append

        async def not_bob(appends: Sequence[Append]) -> list[Number]:
            numbers = await append([each for each in appends if each.user != "bob"])
            found = iter(numbers)
            return [Unavailable("away") if each.user == "bob" else next(found) for each in appends]

        owner.inboxes.append = not_bob  # type: ignore[method-assign]
        outcomes = await stored(owner, send("x2", "x1", "new"), send("ann", "bob", "mine"))
        assert [each.status for each in outcomes] == [Outcome.STORED, Outcome.FAILED]
        owner.inboxes.append = append  # type: ignore[method-assign]
        (again,) = await stored(owner, send("ann", "bob", "mine"))
        assert again.status == Outcome.DUPLICATE
        assert [seq for _, _, seq in await inbox_of(owner, "bob")] == [1, 2]


async def test_a_repeated_change_whose_notice_another_node_left_half_done_is_in_every_inbox() -> None:
    world = World()
    rename = change("g:1", "ann", "op", 1, notices=[["ann", "bob"]], name="others")
    world.hood.owner_of = lambda _: "owner"
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(world.node("owner"))
        await changed(owner, create("g:1", "ann", "bob"))
        faults = Faults()
        other = await stack.enter_async_context(world.node("other", faults=faults))
        world.hood.unreachable.add("owner")

        async def dies(command: str) -> None:
            if command == "inbox.insert":
                faults.away = True

        faults.delay = dies
        await other.conversations.change([rename])
        world.hood.unreachable.discard("owner")
        # By now the owner knows of the new version, but not how it came to be.
        cached = owner.conversations.memory.peek("g:1")
        assert cached is not None
        object.__setattr__(cached, "document", world.database.conversations["g:1"])
        made = await changed(owner, rename)
        assert made.status == pb.ChangeOutcome.DONE
        assert await inbox_of(owner, "bob") == [(1, "g:1", 1), (2, "g:1", 2)]
        (after,) = await stored(owner, post("g:1", "ann", "x", 2, ["ann", "bob"]))
        assert after.seq == 3


def key_of(item: pb.StoreItem) -> ClientKey:
    return ClientKey(item.conversation, item.sender, item.client_id)
