"""Changes of messages through a storage node: what is stored, what becomes of the target, what is answered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.folding.hiders import Audience
from services.storage.folding.judge import PINS_MAX
from services.storage.folding.shown import folded_state
from services.storage.folding.texts import TextSoFar
from services.storage.limits import Limits
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.acts import ReactionsNow
from services.storage.messages.jobs import OwnChange, OwnOutcome
from services.storage.messages.naming import MENTION_ALL_MAX
from services.storage.repository.memory import Faults
from services.storage.repository.records import EVERYBODY, MessageKey, StreamText
from tests.unit.storage.changing import (
    CHAT,
    act,
    edit,
    edit_of,
    entry,
    failed,
    finish_of,
    in_group,
    one,
    pin,
    pin_of,
    recall,
    recall_of,
    special,
    state_of,
    text_of,
    told_of,
)
from tests.unit.storage.nodes import World, changed, content_of, create, inbox_of, post, send, stored, stored_rows
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable

Outcome = pb.StoreOutcome


async def test_an_edit_is_an_entry_of_its_own_and_its_target_has_the_new_content() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "helo"))
        world.clock.advance(5)
        outcome = await one(node, edit("ann", "bob", "e", 1, "hello"))
        assert (outcome.status, outcome.seq, outcome.ordinal) == (Outcome.STORED, 2, 0)
        assert list(outcome.numbers) == [2, 2]
        target = entry(world, 1)
        assert text_of(target) == "hello"
        assert state_of(outcome) == client_pb2.State(revision=2, edited_ms=entry(world, 2).time_ms)
        told = told_of(outcome)
        assert (told.kind, told.seq, told.ordinal, told.change.seq) == (client_pb2.Message.CHANGE, 2, 0, 1)
        assert (told.change.edit.text, told.state) == ("hello", state_of(outcome))
        assert not told.HasField("content")
        [record] = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert (record.record.head, record.record.ordinal, record.record.shown) == (2, 1, 1)
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]


async def test_only_the_newest_edit_carries_content() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        await one(node, edit("ann", "bob", "e", 1, "two"))
        await one(node, edit("ann", "bob", "f", 1, "three"))
    assert [text_of(entry(world, seq)) for seq in (1, 2, 3)] == ["three", "", "three"]


async def test_a_recall_leaves_no_content_anywhere() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        await one(node, edit("ann", "bob", "e", 1, "two"))
        outcome = await one(node, recall("ann", "bob", "r", 1))
        assert state_of(outcome) == client_pb2.State(revision=3, recalled_by="ann")
        assert [entry(world, seq).content for seq in (1, 2, 3)] == [b"", b"", b""]
        again = await one(node, recall("ann", "bob", "again", 1))
        assert (again.status, again.seq, again.message) == (Outcome.STORED, 0, b""), "it has no place of its own"
        assert state_of(again) == state_of(outcome)
        refused = await one(node, edit("ann", "bob", "late", 1))
        assert (refused.status, refused.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        [message] = await stored(node, send("bob", "ann", "b"))
        assert (message.seq, message.ordinal) == (4, 2)


async def test_changes_of_one_batch_are_judged_each_on_what_those_before_leave() -> None:
    world = World()
    async with world.node() as node:
        outcomes = await stored(
            node,
            send("ann", "bob", "a", "one"),
            edit("ann", "bob", "e", 1, "two"),
            recall("ann", "bob", "r", 1),
            edit("ann", "bob", "f", 1, "three"),
            recall("ann", "bob", "s", 1),
            send("bob", "ann", "b"),
        )
        assert [(each.status, each.seq) for each in outcomes] == [
            (Outcome.STORED, 1),
            (Outcome.STORED, 2),
            (Outcome.STORED, 3),
            (Outcome.REFUSED, 0),
            (Outcome.STORED, 0),
            (Outcome.STORED, 4),
        ]
        assert told_of(outcomes[1]).change.edit.text == "two"
        assert entry(world, 1).content == entry(world, 2).content == b""


async def test_a_repeat_is_answered_with_the_state_of_now() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        first = await one(node, edit("ann", "bob", "e", 1, "two"))
        last = await one(node, edit("ann", "bob", "f", 1, "three"))
        again = await one(node, edit("ann", "bob", "e", 1, "two"))
        assert (again.status, again.seq, again.time_ms) == (Outcome.DUPLICATE, first.seq, first.time_ms)
        assert list(again.numbers) == list(first.numbers)
        assert state_of(again) == state_of(last)
        assert not told_of(again).change.edit.text
    async with world.node() as node:
        again = await one(node, edit("ann", "bob", "f", 1, "three"))
        assert (again.status, again.seq, told_of(again).change.edit.text) == (Outcome.DUPLICATE, 3, "three")


async def test_a_client_id_is_of_a_send_or_of_a_change() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        await one(node, edit("ann", "bob", "e", 1))
        for item in (edit("ann", "bob", "a", 1), send("ann", "bob", "e")):
            outcome = await one(node, item)
            assert (outcome.status, outcome.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
    async with world.node() as node:
        for item in (edit("ann", "bob", "a", 1), send("ann", "bob", "e"), edit("ann", "bob", "a", 7)):
            outcome = await one(node, item)
            assert (outcome.status, outcome.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
    assert len(world.database.messages[CHAT]) == 2


async def test_a_node_that_died_after_the_insert_has_its_changes_folded_by_the_next() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        faults = Faults()
        node = await stack.enter_async_context(world.node(faults=faults))
        await stored(node, send("ann", "bob", "a", "one"))

        async def die(name: str) -> None:
            if name == "messages.fold":
                faults.away = True

        faults.delay = die
        assert isinstance(await failed(node, edit("ann", "bob", "e", 1, "two")), Unavailable)
        assert text_of(entry(world, 1)) == "one"
        async with world.node("two") as other:
            again = await one(other, edit("ann", "bob", "e", 1, "two"))
            assert (again.status, again.seq) == (Outcome.DUPLICATE, 2)
            assert text_of(entry(world, 1)) == "two"


async def test_a_change_that_another_owner_came_before_is_judged_again() -> None:
    """Node two recalls the message after node one has judged an edit of it, before that is inserted."""
    world = World()
    world.hood.owner_of = lambda _: ""
    faults = Faults()
    async with world.node("one", faults=faults) as one_, world.node("two") as two:
        await stored(one_, send("ann", "bob", "a", "first"))
        recalls = [recall("ann", "bob", "r", 1)]

        async def recalled_meanwhile(name: str) -> None:
            if name == "messages.insert" and recalls:
                await one(two, recalls.pop())

        faults.delay = recalled_meanwhile
        edited, after = await stored(one_, edit("ann", "bob", "e", 1), send("bob", "ann", "b"))
        assert (edited.status, edited.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        assert (after.seq, after.ordinal) == (3, 2)
        assert entry(world, 1).content == b""


async def test_what_was_refused_because_of_what_did_not_get_in_is_judged_again() -> None:
    """Ann's batch pins the fiftieth message, and one more. Before it gets in, the fiftieth is recalled by node two."""
    world = World()
    world.hood.owner_of = lambda _: ""
    faults = Faults()
    async with world.node("one", faults=faults) as one_, world.node("two") as two:
        await stored(one_, *(send("ann", "bob", f"a{seq}") for seq in range(1, 53)))
        await stored(one_, *(pin("ann", "bob", f"p{seq}", seq) for seq in range(1, PINS_MAX)))
        recalls = [recall("ann", "bob", "r", 50)]

        async def recalled_meanwhile(name: str) -> None:
            if name == "messages.insert" and recalls:
                await one(two, recalls.pop())

        faults.delay = recalled_meanwhile
        fiftieth, one_more, too_many = await stored(one_, *(pin("bob", "ann", f"p{seq}", seq) for seq in (50, 51, 52)))
        assert (fiftieth.status, fiftieth.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        assert one_more.status == Outcome.STORED
        assert (too_many.status, too_many.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
        assert world.database.conversations[CHAT].pinned[:2] == (51, 49)


async def test_a_refused_change_whose_first_try_was_stored_is_a_repeat() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        rights = pb.ActorRights(window_ms=60_000)
        first = await one(node, edit("ann", "bob", "e", 1, rights=rights))
        await one(node, pin("ann", "bob", "p", 1))
    world.clock.advance(3600)
    async with world.node() as node:
        again = await one(node, edit("ann", "bob", "e", 1, rights=rights))
        assert (again.status, again.seq, again.time_ms) == (Outcome.DUPLICATE, first.seq, first.time_ms)
        pinned = await one(node, pin("ann", "bob", "p", 1))
        assert (pinned.status, pinned.seq) == (Outcome.DUPLICATE, 3)
        late = await one(node, edit("ann", "bob", "f", 1, rights=rights))
        assert (late.status, late.fault.code) == (Outcome.REFUSED, "FORBIDDEN")


async def test_pins_are_in_the_record_the_newest_first() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"), send("ann", "bob", "c"))
        await stored(node, *(pin("bob", "ann", f"p{seq}", seq) for seq in (1, 3, 2)))
        again = await one(node, pin("ann", "bob", "again", 3))
        assert (again.status, again.seq, again.message, state_of(again).pinned) == (Outcome.STORED, 0, b"", True)
        await stored(node, pin("bob", "ann", "u", 1, False), recall("ann", "bob", "r", 2))
        [loaded] = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert list(loaded.record.pinned) == [3]
    async with world.node() as node:
        [loaded] = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert list(loaded.record.pinned) == [3]


async def test_a_change_moves_no_position_and_no_chat() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        world.clock.advance(60)
        await one(node, edit("ann", "bob", "e", 1))
        [loaded] = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert loaded.record.last_ms == entry(world, 1).time_ms
        assert {member.user: member.read_seq for member in loaded.members} == {"ann": 1, "bob": 0}
    assert [each.quiet for each in world.database.inboxes["bob"].values()] == [False, True]
    document = world.database.conversations[CHAT]
    assert (document.head, document.changes, document.shown) == (2, 1, 1)


async def test_a_reply_to_a_change_is_refused_on_both_ways() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        await one(node, edit("ann", "bob", "e", 1))
        for store in (stored, stored_rows):
            to_change, to_message = await store(
                node,
                send("bob", "ann", f"{store.__name__} no", reply_to=2),
                send("bob", "ann", f"{store.__name__} yes", reply_to=1),
            )
            assert (to_change.status, to_message.status) == (Outcome.NO_SUCH_REPLY, Outcome.STORED)
    async with world.node() as node:
        [refused] = await stored_rows(node, send("bob", "ann", "late", reply_to=2))
        assert refused.status == Outcome.NO_SUCH_REPLY
        [allowed] = await stored_rows(node, send("bob", "ann", "late 2", reply_to=1))
        assert allowed.status == Outcome.STORED


async def test_mentions_are_kept_of_members_where_the_send_or_the_edit_brought_them() -> None:
    world = World()
    async with world.node() as node:
        item = special(send("ann", "bob", "a"), mentions=["bob", "zoe"])
        item.content = client_pb2.Content(text="@bob @zoe", mentions=["bob", "zoe"]).SerializeToString()
        await stored(node, item)
        assert entry(world, 1).mentions == ("bob",)
        named = client_pb2.Content(text="@ann @bob", mentions=["ann", "bob"]).SerializeToString()
        await one(node, act("ann", "bob", "e", edit_of(1), content=named, mentions=["ann", "bob"]))
        assert [entry(world, seq).mentions for seq in (1, 2)] == [("bob",), ("ann",)]
        named = client_pb2.Content(text="@ann", mentions=["ann"]).SerializeToString()
        await one(node, act("ann", "bob", "f", edit_of(1), content=named, mentions=["ann"]))
        assert [entry(world, seq).mentions for seq in (1, 2, 3)] == [(), ("ann",), ()]
        await one(node, recall("ann", "bob", "r", 1))
        assert [entry(world, seq).mentions for seq in (1, 2, 3, 4)] == [(), (), (), ()]


async def test_all_are_mentioned_in_groups_that_are_not_too_large() -> None:
    world = World()
    async with world.node() as node:
        made = await changed(node, create("g:1", "ann", "bob", large=True))
        version = made.record.version
        to_all = special(post("g:1", "ann", "a", version), mention_all=True, mentions=["bob", "zoe"])
        [outcome] = await stored(node, to_all)
        assert entry(world, outcome.seq, "g:1").mentions == (EVERYBODY, "bob")
        conversation = (await node.conversations.get(["g:1"]))["g:1"]
        assert isinstance(conversation, CachedConversation)
        conversation.document = replace(conversation.document, member_count=MENTION_ALL_MAX + 1)
        [outcome] = await stored(node, special(post("g:1", "ann", "b", version), mention_all=True))
        assert entry(world, outcome.seq, "g:1").mentions == ()


async def test_members_of_a_large_group_are_looked_up_once_for_all_that_mention_them() -> None:
    world, faults, reads = World(), Faults(), list[str]()
    names = ["bob", "cid", "dan"]
    async with world.node() as node:
        made = await changed(node, create("g:1", "ann", *names, large=True))

    async def count(name: str) -> None:
        if name == "members.find":
            reads.append(name)

    async with world.node(faults=faults) as node:
        await node.conversations.get(["g:1"])
        faults.delay = count
        posts = (post("g:1", "ann", name, made.record.version) for name in (*names, "zoe"))
        outcomes = await stored(node, *(special(each, mentions=[each.client_id]) for each in posts))
    assert [entry(world, each.seq, "g:1").mentions for each in outcomes] == [("bob",), ("cid",), ("dan",), ()]
    assert len(reads) == 1


async def test_a_message_that_expires_says_when_and_is_then_as_if_recalled() -> None:
    world = World()
    async with world.node() as node:
        [outcome] = await stored(node, special(send("ann", "bob", "a"), expire_after_s=60))
        told = told_of(outcome)
        assert told.expires_ms == entry(world, 1).expires_ms == outcome.time_ms + 60_000
        assert (told.content.text, told.ordinal) == ("hello", 1)
        world.clock.advance(60)
        refused = await one(node, edit("ann", "bob", "e", 1))
        assert (refused.status, refused.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        gone = await one(node, recall("ann", "bob", "r", 1))
        assert (gone.status, gone.seq, state_of(gone).recalled_by) == (Outcome.STORED, 0, "~expiry")


def stream(client_id: str, text: str = "") -> pb.StoreItem:
    item = special(send("ann", "bob", client_id), streaming=True)
    item.content = client_pb2.Content(text=text, streaming=True).SerializeToString()
    return item


async def test_a_stream_ends_with_the_text_that_is_given_or_with_what_it_has() -> None:
    world = World()
    async with world.node() as node:
        outcome, _ = await stored(node, stream("s", "so far"), stream("t", "begun"))
        assert told_of(outcome).state == client_pb2.State(streaming=True)
        assert entry(world, 1).parts == 0
        ended = await one(node, act("ann", "bob", "f", finish_of(1, 4, "all of it")))
        assert told_of(ended).change.finish == client_pb2.Change.Finish(parts=4, text="all of it")
        assert state_of(ended) == client_pb2.State(revision=3, parts=4)
        assert (text_of(entry(world, 1)), entry(world, 1).parts) == ("all of it", None)
        missing = await one(node, act("ann", "bob", "g", finish_of(2, 1)))
        assert (missing.status, missing.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
        ended = await one(node, act("ann", "bob", "h", finish_of(2)))
        assert told_of(ended).change.finish.text == "begun"


async def test_what_the_owner_has_of_a_stream_counts_when_it_ends() -> None:
    world = World()

    class Texts:
        def so_far(self, key: MessageKey) -> TextSoFar | None:
            return TextSoFar(2, "so far, and on") if key == (CHAT, 1) else None

    async with world.node() as node:
        turns = node.conversations._turns
        turns._rounds = replace(turns._rounds, texts=Texts())
        await stored(node, stream("s", "so far"))
        early = await one(node, act("ann", "bob", "e", finish_of(1, 3)))
        assert "part 3" in early.fault.message
        ended = await one(node, act("ann", "bob", "f", finish_of(1, 2)))
        assert told_of(ended).change.finish == client_pb2.Change.Finish(parts=2, text="so far, and on")
        assert text_of(entry(world, 1)) == "so far, and on"


async def test_a_stream_ends_with_what_its_document_has_if_that_is_more_than_its_owner_has() -> None:
    world = World()

    class Texts:
        def so_far(self, _key: MessageKey) -> TextSoFar | None:
            return TextSoFar(1, "behind")

    async with world.node() as node:
        turns = node.conversations._turns
        turns._rounds = replace(turns._rounds, texts=Texts())
        await stored(node, stream("s"))
        content = content_of("behind, and on")
        await world.database.repository().streams.write([StreamText(CHAT, 1, 2, content)])
        ended = await one(node, act("ann", "bob", "f", finish_of(1, 2)))
        assert told_of(ended).change.finish == client_pb2.Change.Finish(parts=2, text="behind, and on")


async def test_storage_makes_changes_of_its_own_for_all_members_of_now() -> None:
    world = World()
    thumb = client_pb2.Reaction(reaction="+1", count=1, users=["bob"])
    one_ = client_pb2.Change.Reacted.One(user="bob", reaction="+1")
    reacted = client_pb2.Change.Reacted(added=[one_])
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        told = client_pb2.Change(seq=1, reacted=client_pb2.Change.Reacted())
        own = OwnChange(CHAT, "bob", "~r 1", told, lambda: ReactionsNow(reacted, [thumb]))
        [made] = await node.conversations.make([own])
        assert isinstance(made, OwnOutcome)
        assert (list(made.recipients), list(made.outcome.numbers)) == (["ann", "bob"], [2, 2])
        shown = told_of(made.outcome)
        assert (shown.sender, shown.change.reacted) == ("bob", reacted)
        assert list(shown.state.reactions) == list(state_of(made.outcome).reactions) == [thumb]
        [again] = await node.conversations.make([own])
        assert isinstance(again, OwnOutcome)
        assert (again.outcome.status, again.outcome.seq) == (Outcome.DUPLICATE, 2)
        nothing = OwnChange(CHAT, "bob", "~r 2", told, lambda: None)
        [none] = await node.conversations.make([nothing])
        assert isinstance(none, OwnOutcome)
        assert (none.outcome.seq, none.outcome.message) == (0, b"")
        await one(node, recall("ann", "bob", "r", 1))
        act_ = client_pb2.Change.FromString(entry(world, 2).act)
        assert (act_.reacted, entry(world, 2).state) == (client_pb2.Change.Reacted(), b"")


async def test_reactions_that_were_stored_by_a_node_that_died_are_folded_by_the_next() -> None:
    world = World()
    thumb = client_pb2.Reaction(reaction="+1", count=3, users=["ann", "bob", "cid"])
    async with AsyncExitStack() as stack:
        faults = Faults()
        node = await stack.enter_async_context(world.node(faults=faults))
        await stored(node, send("ann", "bob", "a"), pin("ann", "bob", "p", 1))

        async def die(name: str) -> None:
            faults.away |= name == "messages.fold"

        faults.delay = die
        told = client_pb2.Change(seq=1, reacted=client_pb2.Change.Reacted())
        now = ReactionsNow(client_pb2.Change.Reacted(), [thumb])
        [failure] = await node.conversations.make([OwnChange(CHAT, "bob", "~r", told, lambda: now)])
        assert isinstance(failure, Unavailable)
        async with world.node("two") as other:
            await other.loads.load([pb.LoadItem(conversation=CHAT)])
            state = folded_state(entry(world, 1)).state
            assert state == client_pb2.State(revision=3, pinned=True, reactions=[thumb])


async def test_the_first_edit_keeps_what_was_before_it_where_the_history_is_kept() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, keeps_edit_history=True))
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        await stored(node, edit("ann", "bob", "e", 1, "two"), edit("ann", "bob", "f", 1, "three"))
        assert [text_of(entry(world, seq)) for seq in (1, 2, 3)] == ["three", "two", "three"]
        assert [entry(world, seq).former for seq in (2, 3)] == [content_of("one"), b""]
        told = told_of(await one(node, edit("ann", "bob", "e", 1, "two")))
        assert not told.change.edit.text, "the history is the operator's alone"
        await one(node, recall("ann", "bob", "r", 1))
        assert {entry(world, seq).content + entry(world, seq).former for seq in (1, 2, 3, 4)} == {b""}


async def test_who_has_hidden_the_target_is_named() -> None:
    world = World()

    class BobHid:
        async def among(self, audiences: Sequence[Audience]) -> list[Collection[str]]:
            return [{"bob", "zoe"} if each.target == (CHAT, 1) else () for each in audiences]

    async with world.node() as node:
        turns = node.conversations._turns
        node.conversations._rounds = turns._rounds = replace(turns._rounds, hiders=BobHid())
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"))
        item = edit("ann", "bob", "e", 1)
        assert list((await one(node, item)).stubs) == ["bob"]
        assert list((await one(node, item)).stubs) == ["bob"]
        item.only_look = True
        looked = await one(node, item)
        assert (looked.status, list(looked.stubs)) == (Outcome.DUPLICATE, ["bob"])
        assert told_of(looked).change.edit.text == "better"
        assert state_of(looked).revision == 3
        assert not (await one(node, edit("ann", "bob", "f", 2))).stubs


async def test_a_look_says_what_is_no_repeat() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"), edit("ann", "bob", "e", 1))
        other, none = edit("ann", "bob", "a", 1), edit("ann", "bob", "x", 1)
        other.only_look = none.only_look = True
        [refused, not_stored] = await stored(node, other, none)
        assert (refused.status, refused.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
        assert not_stored.status == Outcome.NOT_STORED


async def test_an_admin_recalls_no_message_of_the_owner_also_in_a_large_group() -> None:
    world = World()
    for large in (False, True):
        group = f"g:{large}"
        async with world.node() as node:
            made = await changed(node, create(group, "ann", "bob", "cid", large=large))
            version = made.record.version
            posts = await stored(node, post(group, "ann", "a", version), post(group, "cid", "b", version))
        async with world.node() as node:
            admin = pb.ActorRights(role=2)
            of_owner, of_member = await stored(
                node,
                *(
                    in_group(group, "bob", f"r{each.seq}", recall_of(each.seq), version=version, rights=admin)
                    for each in posts
                ),
            )
            assert (of_owner.status, of_owner.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
            assert of_member.status == Outcome.STORED
            stale = await one(node, in_group(group, "bob", "s", pin_of(posts[1].seq), version=9, rights=admin))
            assert stale.status == Outcome.STALE


async def test_a_change_of_what_is_not_there_creates_no_chat() -> None:
    world = World()
    async with world.node() as node:
        outcome = await one(node, recall("ann", "bob", "r", 1))
        assert (outcome.status, outcome.fault.code) == (Outcome.REFUSED, "NOT_FOUND")
    assert not world.database.conversations


async def test_a_plain_row_behind_a_change_of_its_chat_keeps_its_place() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"), edit("ann", "bob", "e", 1))
        [row] = await stored_rows(node, send("bob", "ann", "b"))
        assert row.seq == 3
        assert (entry(world, 3).before, entry(world, 3).ordinal) == (1, 2)
