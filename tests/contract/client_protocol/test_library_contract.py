"""What the client library is answered and told about changes of messages, streams, people and groups, by the real nodes
and by the model of the client's tests."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import pytest

from tests.contract.client_protocol.servers import Server
from tidings import (
    ChangeAct,
    Client,
    Conflict,
    Event,
    Expired,
    Forbidden,
    Hidden,
    Message,
    MessageChanged,
    NotFound,
    PreferencesChanged,
    ProfileChanged,
    Role,
    StreamGrew,
)

PATIENCE_S = 20.0
Told = TypeVar("Told", bound=Event)


def client(server: Server, user: str, **options: Any) -> Client:
    return Client(f"tcp://{server.address.tcp}", token=server.token(user), **options)


async def the_next(reader: Client, kind: type[Told]) -> Told:
    """The next event of this kind."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in reader.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


async def changed(reader: Client, act: ChangeAct) -> MessageChanged:
    """The next change, which is of this kind."""
    change = await the_next(reader, MessageChanged)
    assert change.act is act
    return change


async def test_an_edit_is_told_to_everybody_and_read_by_whoever_comes_later(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        sent = await ann.send("bob", "one", reply_to=0, mentions=["bob"])
        assert (await the_next(bob, Message)).mentions == ("bob",)
        edited = await ann.edit("bob", sent.seq, "two")
        assert edited.state is not None
        assert (edited.seq, edited.state.revision) == (2, 2)
        for reader in (ann, bob):
            change = await changed(reader, ChangeAct.EDIT)
            assert (change.by, change.seq, change.change_seq) == ("ann", 1, 2)
            assert change.content is not None
            assert change.content.text == "two"
        page = await bob.history("ann")
        assert [(message.seq, message.text, message.edited) for message in page.messages] == [(1, "two", True)]
        page = await bob.history("ann", after=0, changes=True)
        assert [(change.seq, change.change_seq, change.content) for change in page.changes] == [(1, 2, None)]
        with pytest.raises(Forbidden):
            await bob.edit("ann", sent.seq, "mine")
        with pytest.raises(NotFound):
            await ann.edit("bob", 99, "nothing")


async def test_what_is_recalled_is_gone_and_a_second_time_without_effect(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        sent = await ann.send("bob", "one")
        await the_next(bob, Message)
        recalled = await ann.recall("bob", sent.seq)
        assert recalled.seq == 2
        change = await changed(bob, ChangeAct.RECALL)
        assert change.message is not None
        assert (change.message.text, change.state.recalled_by) == ("", "ann")
        again = await ann.recall("bob", sent.seq)
        assert again.state is not None
        assert again.state.recalled_by == "ann"
        with pytest.raises(Forbidden):
            await ann.edit("bob", sent.seq, "two")
        with pytest.raises(Forbidden):
            await bob.react("ann", sent.seq, "x")
        (listed,) = await bob.conversations()
        assert listed.unread == 0


async def test_reactions_come_go_and_say_whose_they_are(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        sent = await ann.send("bob", "one")
        await the_next(bob, Message)
        await bob.react("ann", sent.seq, "👍")
        change = await changed(ann, ChangeAct.REACT)
        assert [(one.user, one.reaction) for one in change.added] == [("bob", "👍")]
        assert [(one.reaction, one.count, one.users) for one in change.state.reactions] == [("👍", 1, ("bob",))]
        (message,) = (await bob.history("ann")).messages
        assert [(one.users, one.mine) for one in message.reactions] == [(("bob",), True)]
        assert [(one.user, one.reaction) for one in await ann.reactors("bob", sent.seq)] == [("bob", "👍")]
        await bob.unreact("ann", sent.seq, "👍")
        change = await changed(ann, ChangeAct.REACT)
        assert ([one.user for one in change.removed], change.state.reactions) == (["bob"], ())


async def test_pins_are_listed(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        for text in ("one", "two"):
            sent = await ann.send("bob", text)
            await bob.pin("ann", sent.seq)
            assert (await changed(ann, ChangeAct.PIN)).state.pinned
        (listed,) = await ann.conversations()
        assert listed.pinned == (3, 1)
        await ann.unpin("bob", 3)
        await changed(ann, ChangeAct.UNPIN)
        (listed,) = await ann.conversations()
        assert (listed.pinned, listed.last.seq if listed.last else 0) == ((1,), 3)


async def test_changes_do_not_count_as_unread(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        for text in ("one", "two @bob"):
            await ann.send("bob", text, mentions=["bob"] if "@" in text else [])
        await ann.pin("bob", 1)
        await ann.edit("bob", 1, "won")
        (listed,) = await bob.conversations()
        assert (listed.unread, listed.mentions, listed.first_mention_seq) == (2, 1, 2)
        assert listed.last is not None
        assert listed.last.ordinal == 2
        await bob.read("ann", 2)
        (listed,) = await bob.conversations()
        assert (listed.unread, listed.mentions, listed.read_ordinal) == (0, 0, 2)


async def test_a_stream_is_read_while_it_is_written(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bot") as bot:
        async with bot.stream("ann", "I ") as stream:
            begun = await the_next(ann, Message)
            assert (begun.text, begun.streaming) == ("I ", True)
            await stream.write("think ")
            grew = await the_next(ann, StreamGrew)
            assert grew.message is not None
            assert grew.message.text == "I think "
            await stream.write("so")
        change = await changed(ann, ChangeAct.FINISH)
        assert change.message is not None
        assert (change.message.text, change.message.streaming) == ("I think so", False)
        (message,) = (await ann.history("bot")).messages
        assert (message.text, message.streaming) == ("I think so", False)


async def test_a_stream_of_many_words_is_whole(whole_server: Server) -> None:
    words = [f"word {number} " for number in range(300)]
    async with client(whole_server, "ann") as ann, client(whole_server, "bot") as bot:
        async with bot.stream("ann") as stream:
            for number, word in enumerate(words):
                await stream.write(word)
                if number % 50 == 0:
                    await ann.read("bot", 1)  # some time goes by
        (message,) = (await ann.history("bot")).messages
        assert message.text == "".join(words)


async def test_what_expires_has_no_content_any_more(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        await ann.send("bob", "for a moment", expire_after_s=1)
        assert (await the_next(bob, Message)).expires_ms > 0
        expired = (await the_next(bob, Expired)).message
        assert (expired.text, expired.state.recalled_by) == ("", "~expiry")


async def test_what_is_hidden_is_hidden_on_all_devices_of_the_user_alone(whole_server: Server) -> None:
    async with (
        client(whole_server, "ann") as ann,
        client(whole_server, "bob", device="phone") as phone,
        client(whole_server, "bob", device="laptop") as laptop,
    ):
        for text in ("one", "two", "three"):
            await ann.send("bob", text)
        await laptop.hide("ann", [3])
        hidden = await the_next(phone, Hidden)
        assert (hidden.seqs, hidden.through) == ((3,), 0)
        assert [message.text for message in (await phone.history("ann")).messages] == ["one", "two"]
        assert [message.text for message in (await ann.history("bob")).messages] == ["one", "two", "three"]
        await ann.edit("bob", 3, "changed")
        await ann.send("bob", "four")
        while (message := await the_next(phone, Message)).text != "four":
            assert message.text in ("one", "two", "three")
        (listed,) = await phone.conversations()
        assert listed.unread == 3


async def test_preferences_and_profiles_reach_the_others(whole_server: Server) -> None:
    async with (
        client(whole_server, "ann", device="phone") as phone,
        client(whole_server, "ann", device="laptop") as laptop,
        client(whole_server, "bob") as bob,
    ):
        await laptop.send("bob", "hi")
        await laptop.prefer("bob", pinned=True, draft="well")
        told = (await the_next(phone, PreferencesChanged)).preferences
        assert (told.pinned, told.draft, told.muted_until_ms) == (True, "well", 0)
        await laptop.prefer("bob", pinned=False)
        told = (await the_next(phone, PreferencesChanged)).preferences
        assert (told.pinned, told.draft) == (False, "well")

        (unknown,) = await bob.profiles(["ann"], watch=True)
        assert (unknown.user, unknown.version) == ("ann", 0)
        mine = await phone.set_profile("Ann", attributes={"town": "Ulm"})
        seen = (await the_next(bob, ProfileChanged)).profile
        assert (seen.name, seen.attributes, seen.version) == ("Ann", {"town": "Ulm"}, mine.version)
        await phone.set_profile("Anna", version=mine.version)
        with pytest.raises(Conflict):
            await phone.set_profile("Annie", version=mine.version)


async def test_who_is_blocked_is_told_so(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        await ann.block(["bob"])
        assert await ann.blocked() == ["bob"]
        with pytest.raises(Forbidden, match="does not take messages from you"):
            await bob.send("ann", "hi")
        await ann.unblock(["bob"])
        assert await ann.blocked() == []


async def test_a_group_is_set_and_one_joins_it(whole_server: Server) -> None:
    async with client(whole_server, "ann") as ann, client(whole_server, "bob") as bob:
        group = await ann.create_group("crew", ["cleo"])
        told = await ann.update_group(group.id, description="us", slow_s=5, approval=True, attributes={"a": "1"})
        assert (told.settings.description, told.settings.slow_s, told.settings.approval) == ("us", 5, True)
        assert (await bob.join(group.id, text="me too")).role is Role.NONE
        assert [(one.user, one.text) for one in await ann.join_requests(group.id)] == [("bob", "me too")]
        await ann.decide(group.id, ["bob"], accept=True)
        assert (await bob.group(group.id)).role is Role.MEMBER

        await ann.ban(group.id, ["bob"])
        assert await ann.banned(group.id) == ["bob"]
        await ann.unban(group.id, ["bob"])
        invite = await ann.invite(group.id, uses=2)
        assert (invite.uses_left, invite.by) == (2, "ann")
        assert (await bob.join(group.id, invite=invite.invite)).role is Role.MEMBER
        assert [one.invite for one in await ann.invites(group.id)] == [invite.invite]
        await ann.uninvite(group.id)
        assert await ann.invites(group.id) == []

        sent = await ann.send(group.id, "hi")
        await bob.read(group.id, sent.seq)
        readers = await ann.readers(group.id, sent.seq)
        assert (readers.users, readers.count) == (("bob",), 1)
        await ann.mute(group.id, ["bob"])
        await ann.unmute(group.id, ["bob"])
        await ann.dissolve(group.id)
        with pytest.raises(Forbidden):
            await ann.send(group.id, "anybody here?")
