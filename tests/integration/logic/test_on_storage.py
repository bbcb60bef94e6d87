"""Logic on the real storage: what the protocol promises, end to end between the two."""

from __future__ import annotations

import asyncio
import json

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from tests.support.cluster.logic_nodes import Nodes, nodes
from tidings_protocol import client_pb2

Push = delivery_pb2.Push
Request = client_pb2.GroupRequest
History = client_pb2.History


def texts(page: client_pb2.Page) -> list[str]:
    return [entry.message.content.text for entry in page.entries]


async def conversation(there: Nodes, user: str, name: str) -> client_pb2.Conversation:
    page = (await there.ask(user, conversations=client_pb2.ListConversations())).conversation_page
    return next(each for each in page.conversations if each.conversation == name)


async def test_a_message_is_numbered_pushed_synced_and_read() -> None:
    async with nodes() as there:
        one, two = await there.send("amy", "d:amy|bob", "one", "two")
        assert [(each.seq, each.number, each.duplicate) for each in (one, two)] == [(1, 1, False), (2, 2, False)]
        pushed = {
            (user, number) for push in there.pushes() for user, number in zip(push.users, push.numbers, strict=True)
        }
        assert pushed == {("amy", 1), ("bob", 1), ("amy", 2), ("bob", 2)}
        page = (await there.ask("bob", sync=client_pb2.Sync())).page
        assert (texts(page), page.head, page.next, page.more) == (["one", "two"], 2, 2, False)
        page = (await there.ask("amy", history=History(conversation="d:amy|bob", after=0))).page
        assert texts(page) == ["one", "two"]
        assert (await there.ask("bob", read=client_pb2.Read(conversation="d:amy|bob", seq=2))).HasField("ok")
        [(receipt, users, session)] = await there.receipts(1)
        assert (receipt.user, receipt.read_seq, receipt.delivered_seq) == ("bob", 2, 2)
        assert (users, session) == ({"amy", "bob"}, "bob-session")
        seen = await conversation(there, "amy", "d:amy|bob")
        assert (seen.peer_read_seq, seen.read_seq, seen.last.content.text) == (2, 2, "two")


async def test_messages_in_columns_are_numbered_by_the_owners_and_pushed() -> None:
    async with nodes(storages=3) as there:
        chats = [f"d:amy|u{number}" for number in range(12)]
        columns = logic_pb2.SendColumns(
            senders=["amy"] * 13,
            sessions=["amy-session"] * 13,
            conversations=[*chats, "d:bob|cid"],
            client_ids=[str(number) for number in range(13)],
            contents=[client_pb2.Content(text=str(number)).SerializeToString() for number in range(13)],
        )
        sent = await there.call("d:amy|bob", "SendRows", columns, logic_pb2.SentColumns)
        assert (list(sent.seqs), sorted(sent.numbers)) == ([1] * 12 + [0], list(range(13)))
        assert [(each.place, each.outcome.fault.code) for each in sent.unusual] == [(12, "FORBIDDEN")]
        page = (await there.ask("amy", sync=client_pb2.Sync())).page
        assert sorted(texts(page), key=int) == [str(number) for number in range(12)]
        told: set[str] = set()

        def all_told() -> bool:
            told.update(user for push in there.pushes() for user in push.users)
            return len(told) == 13

        await there.until(all_told)


async def test_a_retry_on_another_node_gives_the_first_numbers() -> None:
    async with nodes(logics=2) as there:
        [first] = await there.send("amy", "d:amy|bob", "one")
        owner = there.cluster.ring("logic").owner_of("d:amy|bob")
        assert owner is not None
        await there.stop(owner)
        [again] = await there.send("amy", "d:amy|bob", "one")
        assert (again.seq, again.number, again.time_ms, again.duplicate) == (1, first.number, first.time_ms, True)
        assert (await there.ask("bob", sync=client_pb2.Sync())).page.head == 1


async def test_an_answer_past_unread_messages_that_a_device_holds_is_a_receipt() -> None:
    async with nodes() as there:
        await there.send("amy", "d:amy|bob", "one", "two")
        ack = logic_pb2.AckItem(user="bob", device="phone", session="bob-session", number=2)
        await there.call("bob", "Acknowledge", logic_pb2.AckBatch(items=[ack]), logic_pb2.AckBatch)
        await there.receipts(1)
        await there.send("bob", "d:amy|bob", "three")
        [(receipt, _, session)] = await there.receipts(1)
        assert (receipt.user, receipt.read_seq, session) == ("bob", 3, "bob-session")
        assert (await conversation(there, "bob", "d:amy|bob")).read_seq == 3


async def test_an_answer_before_anything_was_synced_claims_nothing() -> None:
    async with nodes() as there:
        await there.send("amy", "d:amy|bob", "one", "two")
        await there.send("bob", "d:amy|bob", "three")
        assert (await conversation(there, "bob", "d:amy|bob")).read_seq == 0
        seen = await conversation(there, "amy", "d:amy|bob")
        assert (seen.peer_delivered_seq, seen.peer_read_seq) == (0, 0)


async def test_acks_become_delivered_receipts() -> None:
    async with nodes() as there:
        await there.send("amy", "d:amy|bob", "one", "two")
        ack = logic_pb2.AckItem(user="bob", device="phone", session="bob-session", number=2)
        await there.call("bob", "Acknowledge", logic_pb2.AckBatch(items=[ack]), logic_pb2.AckBatch)
        [(receipt, _, _)] = await there.receipts(1)
        assert (receipt.user, receipt.delivered_seq, receipt.read_seq) == ("bob", 2, 0)
        assert (await conversation(there, "amy", "d:amy|bob")).peer_delivered_seq == 2


async def test_a_group_lives_from_its_creation_to_its_last_member() -> None:
    async with nodes(logics=2) as there:
        info = (await there.act("olga", op="1", create=Request.Create(name="Tea", members=["mia", "max"]))).group_info
        group = info.conversation
        assert (info.member_count, info.role, info.head) == (3, client_pb2.Member.OWNER, 1)
        assert (await there.act("olga", op="1", create=Request.Create(name="Tea", members=["mia"]))).group_info == info

        assert [each.seq for each in await there.send("mia", group, "hi")] == [2]
        role = Request.SetRole(conversation=group, user="max", role=client_pb2.Member.ADMIN)
        assert (await there.act("olga", op="2", set_role=role)).HasField("ok")
        assert (await there.act("max", op="3", add=Request.Add(conversation=group, users=["eve"]))).HasField("ok")
        assert (await there.act("olga", op="4", leave=Request.Leave(conversation=group))).HasField("ok")
        page = (await there.act("mia", members=Request.Members(conversation=group))).member_page
        assert [(each.user, each.role) for each in page.members] == [("eve", 1), ("max", 3), ("mia", 1)]

        assert (await there.send("olga", group, "still here?"))[0].fault.code == "FORBIDDEN"
        assert (await there.ask("olga", history=History(conversation=group))).error.code == "FORBIDDEN"
        assert (await there.ask("olga", read=client_pb2.Read(conversation=group, seq=1))).error.code == "FORBIDDEN"
        assert [seq.message.seq for seq in (await there.ask("olga", sync=client_pb2.Sync())).page.entries][-1] == 5

        joined = (await there.ask("eve", history=History(conversation=group, after=0))).page
        assert [entry.message.seq for entry in joined.entries] == [4, 5, 6]
        assert json.loads(joined.entries[0].message.content.data)["act"] == "add"
        assert (await conversation(there, "eve", group)).read_seq == 4

        for number, user in enumerate(("max", "mia", "eve")):
            assert (await there.act(user, op=f"l{number}", leave=Request.Leave(conversation=group))).HasField("ok")
        assert (await there.act("eve", op="5", leave=Request.Leave(conversation=group))).HasField("ok")
        assert (await there.act("eve", info=Request.Info(conversation=group))).error.code == "FORBIDDEN"


async def test_a_group_becomes_large_and_is_read_by_cursor_from_then_on() -> None:
    async with nodes(large_group_threshold=5) as there:
        info = (await there.act("u0", op="1", create=Request.Create(members=["u1", "u2", "u3", "u4"]))).group_info
        group = info.conversation
        assert info.large_from == 0
        there.pushes()
        assert (await there.act("u0", op="2", add=Request.Add(conversation=group, users=["u5"]))).HasField("ok")
        info = (await there.act("u5", info=Request.Info(conversation=group))).group_info
        assert (info.large_from, info.head, info.member_count) == (4, 3, 6)
        indexed = {user for push in there.pushes() if push.kind == Push.MEMBERSHIP for user in push.users}
        assert indexed == {f"u{number}" for number in range(6)}
        page = (await there.ask("u5", sync=client_pb2.Sync())).page
        assert [json.loads(entry.message.content.data)["act"] for entry in page.entries] == ["add", "large"]

        [outcome] = await there.send("u1", group, "hi")
        assert (outcome.seq, outcome.number) == (4, 0)
        [push] = [push for push in there.pushes() if push.kind == Push.MESSAGE]
        assert (push.conversation, client_pb2.Message.FromString(push.body).seq, list(push.users)) == (group, 4, [])
        assert (await there.ask("u5", sync=client_pb2.Sync())).page.head == 2

        welcome = await there.hello("u5", "s1")
        assert (dict(welcome.group_heads), list(welcome.large_groups)) == ({group: 4}, [group])
        welcome = await there.hello("u5", "s2", group_cursors={group: 4})
        assert dict(welcome.group_heads) == {}

        assert (await there.act("u0", op="3", add=Request.Add(conversation=group, users=["u6"]))).HasField("ok")
        joined = (await there.ask("u6", history=History(conversation=group, after=0))).page
        assert [entry.message.seq for entry in joined.entries] == []
        assert (await conversation(there, "u6", group)).read_seq == 4
        await there.send("u1", group, "welcome")
        joined = (await there.ask("u6", history=History(conversation=group, after=0))).page
        assert [(entry.number, entry.message.seq) for entry in joined.entries] == [(0, 5)]

        assert (await there.act("u0", op="4", remove=Request.Remove(conversation=group, users=["u6"]))).HasField("ok")
        pushes = [push for push in there.pushes() if "u6" in push.users and push.kind == Push.GROUP_INFO]
        assert client_pb2.GroupInfo.FromString(pushes[0].body).role == client_pb2.Member.ROLE_UNSPECIFIED
        assert (await there.send("u6", group, "hello?"))[0].fault.code == "FORBIDDEN"

        assert (await there.act("u0", op="5", leave=Request.Leave(conversation=group))).HasField("ok")
        members = (await there.act("u1", members=Request.Members(conversation=group))).member_page.members
        assert [(each.user, each.role) for each in members if each.role == 3] == [("u1", 3)]


async def test_who_may_read_history_reads_it_in_a_group_that_shares_it() -> None:
    async with nodes() as there:
        created = await there.act("olga", op="1", create=Request.Create(open=True, share_history=True))
        group = created.group_info.conversation
        await there.send("olga", group, "one", "two")
        joined = (await there.act("eve", op="2", join=Request.Join(conversation=group))).group_info
        assert (joined.role, joined.member_count, joined.head) == (client_pb2.Member.MEMBER, 2, 4)
        page = (await there.ask("eve", history=History(conversation=group, after=0))).page
        assert [entry.message.seq for entry in page.entries] == [1, 2, 3, 4]
        assert (await conversation(there, "eve", group)).read_seq == 4


async def test_sends_and_changes_at_once_never_reach_who_is_not_a_member() -> None:
    async with nodes(logics=2) as there:
        created = await there.act("olga", op="0", create=Request.Create(members=["mia"]))
        group = created.group_info.conversation

        async def talk(user: str) -> None:
            for number in range(30):
                [outcome] = await there.send(user, group, f"{user} {number}")
                assert outcome.fault.code in {"", "UNAVAILABLE"}, outcome.fault

        async def come_and_go() -> None:
            for number in range(10):
                add = Request.Add(conversation=group, users=["eve"])
                assert (await there.act("olga", op=f"a{number}", add=add)).HasField("ok")
                remove = Request.Remove(conversation=group, users=["eve"])
                assert (await there.act("olga", op=f"r{number}", remove=remove)).HasField("ok")

        async with asyncio.TaskGroup() as at_once:
            for user in ("olga", "mia"):
                at_once.create_task(talk(user))
            at_once.create_task(come_and_go())

        inside = False
        got = [entry.message.seq for entry in (await there.ask("eve", sync=client_pb2.Sync(limit=500))).page.entries]
        page = (await there.ask("olga", history=History(conversation=group, after=0, limit=200))).page
        assert [entry.message.seq for entry in page.entries] == list(range(1, page.head + 1))
        wanted = []
        for entry in page.entries:
            data = entry.message.content.data
            act = json.loads(data)["act"] if data else ""
            if inside or act == "add":
                wanted.append(entry.message.seq)
            inside = act == "add" or (inside and act != "remove")
        assert got == wanted


async def test_sessions_open_close_and_are_seen() -> None:
    async with nodes() as there:
        welcome = await there.hello("amy", "s1")
        assert (welcome.inbox_head, welcome.reset, bool(welcome.epoch)) == (0, False, True)
        found = (await there.ask("bob", presence=client_pb2.PresenceRequest(users=["amy", "nobody"]))).presence_list
        assert [(each.user, each.online) for each in found.users] == [("amy", True), ("nobody", False)]
        newer = await there.hello("amy", "s2", node="access-1", boot_id="boot-access-1")
        assert [(each.session, each.node) for each in newer.replaced] == [("s1", "access-0")]
        assert there.access.evicted == []  # that is for who welcomes the newer one
        older = await there.hello("amy", "s1")
        assert older.newer == "s2"
        query = logic_pb2.HeldQuery(boot_id="boot-access-1")
        held = await there.call("amy", "Held", query, logic_pb2.HeldPage)
        assert [(each.user, each.device, each.session) for each in held.sessions] == [("amy", "phone", "s2")]
        close = logic_pb2.CloseItem(user="amy", device="phone", session="s2")
        await there.call("amy", "End", logic_pb2.CloseBatch(items=[close]), logic_pb2.CloseOutcomes)
        found = (await there.ask("bob", presence=client_pb2.PresenceRequest(users=["amy"]))).presence_list
        assert not found.users[0].online
        assert found.users[0].last_seen_ms > 0
        assert (await there.hello("amy", "s3", cursor=99, epoch=welcome.epoch)).reset


async def test_heads_are_told_for_many_at_once() -> None:
    async with nodes() as there:
        await there.send("amy", "d:amy|bob", "one", "two")
        query = logic_pb2.HeadsQuery(users=["amy", "nobody", "bob"], conversations=["d:amy|bob", "b:all"])
        heads = await there.call("amy", "Heads", query, logic_pb2.HeadsAnswer)
        assert (list(heads.users), list(heads.conversations)) == ([2, 0, 2], [2, 0])


async def test_a_storage_node_that_stops_is_not_noticed() -> None:
    async with nodes(storages=3) as there:
        await there.send("amy", "d:amy|bob", "one")
        owner = there.cluster.ring("storage").owner_of("d:amy|bob")
        assert owner is not None
        await there.stop(owner)
        [outcome] = await there.send("amy", "d:amy|bob", "two")
        assert (outcome.seq, outcome.number) == (2, 2)
        assert texts((await there.ask("bob", sync=client_pb2.Sync())).page) == ["one", "two"]


async def test_a_database_that_is_away_is_an_error_with_a_retry_time_and_then_all_is_well() -> None:
    async with nodes(storages=1) as there:
        await there.send("amy", "d:amy|bob", "one")
        there.faults["storage-0"].away = True
        [outcome] = await there.send("amy", "d:amy|bob", "two")
        assert outcome.fault.code == "UNAVAILABLE"
        assert outcome.fault.retry_after_ms > 0
        there.faults["storage-0"].away = False
        [outcome] = await there.send("amy", "d:amy|bob", "two")
        assert outcome.seq == 2


async def test_a_node_that_drains_tells_what_waits() -> None:
    async with nodes(logics=1) as there:
        there.broker.away()
        [outcome] = await there.send("amy", "d:amy|bob", "one")
        assert outcome.seq == 1
        there.broker.back()
        await there.stop("logic-0")
        assert {client_pb2.Message.FromString(push.body).content.text for push in there.pushes()} == {"one"}


async def test_a_change_of_a_group_in_the_name_of_a_session_that_was_replaced_is_not_made() -> None:
    async with nodes() as there:
        group = (await there.act("amy", create=client_pb2.GroupRequest.Create(name="x"))).group_info.conversation
        await there.hello("amy", "s1", device="tv")
        await there.hello("amy", "s2", device="tv")
        frame = client_pb2.ClientFrame(
            group=client_pb2.GroupRequest(add=client_pb2.GroupRequest.Add(conversation=group, users=["bob"]))
        )
        item = logic_pb2.HandleItem(user="amy", session="s1", frame=frame.SerializeToString(), op="s1.1")
        answer = await there.call("amy", "Handle", logic_pb2.HandleBatch(items=[item]), logic_pb2.HandleOutcomes)
        assert client_pb2.ServerFrame.FromString(answer.outcomes[0].frame).error.code == "UNAVAILABLE"
        item.session = "s2"
        answer = await there.call("amy", "Handle", logic_pb2.HandleBatch(items=[item]), logic_pb2.HandleOutcomes)
        assert client_pb2.ServerFrame.FromString(answer.outcomes[0].frame).WhichOneof("body") == "ok"
