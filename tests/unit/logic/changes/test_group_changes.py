"""Changes of groups: decided, made, told."""

from __future__ import annotations

import json
from typing import Any

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from protos.tidings.v1 import events_pb2
from tests.support.traces import a_trace, ended, recording
from tests.unit.logic.harness import Logic, body, logic, message
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable

Push = delivery_pb2.Push
Request = client_pb2.GroupRequest


async def act(node: Logic, user: str, op: str = "", **fields: Any) -> client_pb2.ServerFrame:
    return await node.ask(user, op, group=Request(**fields))


def told(pushes: list[delivery_pb2.Push]) -> dict[str, list[tuple[str, int]]]:
    """Which acts each user hears of, with what number."""
    found: dict[str, list[tuple[str, int]]] = {}
    for push in pushes:
        data = json.loads(body(push).content.data)
        for user, number in zip(push.users, push.numbers or [0] * len(push.users), strict=True):
            found.setdefault(user, []).append((data["act"], number))
    return found


def acts_of(node: Logic) -> list[events_pb2.Membership]:
    """What storage was told that happened."""
    return [events_pb2.Membership.FromString(act) for item in node.storage.changes for act in item.acts]


async def test_a_group_is_created_and_all_of_it_hear_of_it() -> None:
    async with logic() as node:
        reply = await act(node, "olga", "op1", create=Request.Create(name="Tea", members=["mia"]))
        info = reply.group_info
        assert (info.name, info.member_count, info.role, info.head) == ("Tea", 2, client_pb2.Member.OWNER, 1)
        assert info.conversation.startswith("g:")
        pushes = node.pushes()
        assert told(pushes) == {"olga": [("create", 1)], "mia": [("create", 1)]}
        assert {(push.except_session, body(push).sender, body(push).kind) for push in pushes} == {
            ("", "olga", client_pb2.Message.SYSTEM)
        }


async def test_a_repeated_create_is_the_same_group() -> None:
    async with logic() as node:
        first = await act(node, "olga", "op1", create=Request.Create(name="Tea"))
        again = await act(node, "olga", "op1", create=Request.Create(name="Tea"))
        other = await act(node, "olga", "op2", create=Request.Create(name="Tea"))
        assert again.group_info.conversation == first.group_info.conversation
        assert other.group_info.conversation != first.group_info.conversation
        assert len(node.storage.conversations[first.group_info.conversation].messages) == 1


async def test_who_may_not_is_told_why() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "mia")
        reply = await act(node, "mia", rename=Request.Rename(conversation="g:x", name="Mine"))
        assert (reply.error.code, reply.id) == ("FORBIDDEN", 0)
        assert node.parcels() == []


async def test_who_is_added_and_who_is_removed_both_hear_of_it() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        assert (await act(node, "olga", add=Request.Add(conversation="g:x", users=["mia"]))).HasField("ok")
        assert set(told(node.pushes())) == {"olga", "mia"}
        assert (await act(node, "olga", remove=Request.Remove(conversation="g:x", users=["mia"]))).HasField("ok")
        assert set(told(node.pushes())) == {"olga", "mia"}
        assert (await act(node, "olga", remove=Request.Remove(conversation="g:x", users=["mia"]))).HasField("ok")
        assert node.parcels() == []


async def test_a_change_is_seen_by_the_next_send_at_once() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        await node.send(message("olga", "g:x", "one"))
        await act(node, "olga", add=Request.Add(conversation="g:x", users=["mia"]))
        node.pushes()
        await node.send(message("olga", "g:x", "two"))
        assert {user for push in node.pushes() for user in push.users} == {"olga", "mia"}
        assert node.storage.count("Store") == 2, "nothing was stale"


async def test_somebody_elses_change_meanwhile_is_taken_into_account() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        node.storage.stale = 2
        assert (await act(node, "olga", add=Request.Add(conversation="g:x", users=["mia"]))).HasField("ok")
        assert node.storage.count("Change") == 3
        node.storage.stale = 100
        reply = await act(node, "olga", add=Request.Add(conversation="g:x", users=["max"]))
        assert reply.error.code == "UNAVAILABLE"
        assert reply.error.retry_after_ms > 0


async def test_a_group_that_becomes_large_tells_its_members_and_their_nodes() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "a", "b", "c", "d")
        await act(node, "olga", add=Request.Add(conversation="g:x", users=["e"]))
        pushes = [push for _, parcel in node.parcels() for push in parcel.pushes]
        everyone = {"olga", "a", "b", "c", "d", "e"}
        numbered = told([push for push in pushes if push.kind == Push.MESSAGE])
        assert set(numbered) == everyone
        assert all([act for act, _ in acts] == ["add", "large"] for acts in numbered.values())
        assert all(number for acts in numbered.values() for _, number in acts)
        memberships = [push for push in pushes if push.kind == Push.MEMBERSHIP]
        assert {user for push in memberships for user in push.users} == everyone
        assert delivery_pb2.LargeMembership.FromString(memberships[0].body) == delivery_pb2.LargeMembership(
            conversation="g:x", member=True
        )
        record = node.storage.conversations["g:x"].record
        assert (record.large_from, record.head) == (3, 2)


async def test_a_group_created_large_brings_its_first_message_to_each_member_without_a_number() -> None:
    async with logic() as node:
        reply = await act(node, "olga", create=Request.Create(members=["a", "b", "c", "d", "e"]))
        assert reply.group_info.large_from == 1
        parcels = node.parcels()
        assert {topic for topic, _ in parcels} == {"t.deliver"}
        pushes = [push for _, parcel in parcels for push in parcel.pushes if push.kind == Push.MESSAGE]
        assert told(pushes) == {user: [("create", 0)] for user in ("olga", "a", "b", "c", "d", "e")}
        assert node.storage.inboxes == {}
        assert [act.act for act in acts_of(node)] == ["create"]
        assert node.events() == []


async def test_a_large_group_changes_without_messages_and_who_is_out_hears_it_on_all_devices() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "mia", "max", large_from=1, name="Tea")
        await act(node, "olga", add=Request.Add(conversation="g:x", users=["eve"]))
        [membership] = [push for _, parcel in node.parcels() for push in parcel.pushes]
        assert (membership.kind, list(membership.users)) == (Push.MEMBERSHIP, ["eve"])

        await act(node, "olga", remove=Request.Remove(conversation="g:x", users=["mia"]))
        pushes = [push for _, parcel in node.parcels() for push in parcel.pushes]
        assert [(push.kind, list(push.users)) for push in pushes] == [
            (Push.MEMBERSHIP, ["mia"]),
            (Push.GROUP_INFO, ["mia"]),
        ]
        assert client_pb2.GroupInfo.FromString(pushes[1].body) == client_pb2.GroupInfo(conversation="g:x", name="Tea")

        await act(node, "max", leave=Request.Leave(conversation="g:x"))
        pushes = [push for _, parcel in node.parcels() for push in parcel.pushes]
        assert [(push.kind, push.except_session) for push in pushes] == [
            (Push.MEMBERSHIP, ""),
            (Push.GROUP_INFO, "max-session"),
        ]
        assert [act.act for act in acts_of(node)].count("leave") == 1


async def test_a_large_groups_new_name_goes_to_all_nodes() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", large_from=1)
        await act(node, "olga", rename=Request.Rename(conversation="g:x", name="New"))
        [(topic, parcel)] = node.parcels()
        assert topic == "t.broadcast"
        assert (parcel.pushes[0].conversation, body(parcel.pushes[0]).seq) == ("g:x", 1)


async def test_a_repeat_in_a_large_group_tells_the_nodes_again() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "mia", large_from=1)
        await act(node, "olga", add=Request.Add(conversation="g:x", users=["mia"]))
        assert [list(push.users) for push in node.pushes(Push.MEMBERSHIP)] == [["mia"]]
        assert node.storage.count("Change") == 0


async def test_the_owner_of_a_large_group_is_followed_by_whom_storage_names() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "mia", "max", large_from=1)
        assert (await act(node, "olga", leave=Request.Leave(conversation="g:x"))).HasField("ok")
        members = node.storage.conversations["g:x"].members
        assert {user: member.role for user, member in members.items()} == {"mia": 3, "max": 1}
        assert members["mia"].joined_seq == 1


async def test_storage_is_told_what_happens_by_each_change() -> None:
    """Its events tell of it."""
    async with logic() as node:
        node.storage.group("g:x", "olga", "mia")
        await act(node, "olga", leave=Request.Leave(conversation="g:x"))
        acts = acts_of(node)
        assert [(each.act, each.by, list(each.users), each.role) for each in acts] == [
            ("leave", "olga", ["olga"], ""),
            ("role", "olga", ["mia"], "OWNER"),
        ]
        assert [len(item.notices) for item in node.storage.changes] == [2]
        assert node.events() == []


async def test_requests_for_one_group_are_done_in_their_order() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        renames = [Request(rename=Request.Rename(conversation="g:x", name=f"N{number}")) for number in range(5)]
        replies = await node.ask_all(
            *[("olga", f"op {request.rename.name}", {"group": request}) for request in renames],
            ("max", "op", {"group": Request(create=Request.Create(name="Other"))}),
        )
        assert [reply.group_info.name for reply in replies] == ["N0", "N1", "N2", "N3", "N4", "Other"]
        assert node.storage.conversations["g:x"].record.name == "N4"


async def test_a_storage_that_does_not_answer_is_told_to_the_one_who_asked() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        for method in ("Load", "Change"):
            node.storage.fail[method] = [Unavailable("storage is away", 300)]
            reply = await act(node, "olga", rename=Request.Rename(conversation="g:x", name="New"))
            assert (reply.error.code, reply.error.retry_after_ms) == ("UNAVAILABLE", 300)


async def test_what_comes_in_the_name_of_a_session_that_was_replaced_is_not_begun() -> None:
    async with logic() as node:
        node.storage.group("g:1", "amy", "bob")
        node.storage.present["amy", "phone"] = "a newer session"
        reply = await node.ask(
            "amy", group=client_pb2.GroupRequest(add=client_pb2.GroupRequest.Add(conversation="g:1", users=["cid"]))
        )
        assert reply.error.code == "UNAVAILABLE"
        assert "cid" not in node.storage.conversations["g:1"].members
        assert node.storage.count("Change") == 0


async def test_one_who_is_gone_does_not_keep_the_others_of_a_batch_from_their_changes() -> None:
    async with logic() as node:
        node.storage.group("g:1", "amy", "bob")
        node.storage.present["bob", "phone"] = "a newer session"
        leave = {"group": client_pb2.GroupRequest(leave=client_pb2.GroupRequest.Leave(conversation="g:1"))}
        replies = await node.ask_all(("bob", "", leave), ("amy", "", leave))
        assert [reply.WhichOneof("body") for reply in replies] == ["error", "ok"]
        assert list(node.storage.conversations["g:1"].members) == ["bob"]


async def test_a_change_that_is_traced_is_so_until_its_members_have_it() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "amy")
        with recording() as exporter:
            with a_trace("group") as trace:
                add = client_pb2.GroupRequest(add=Request.Add(conversation="g:x", users=["eve"]))
                node.storage.present["olga", "phone"] = "s"
                frame = client_pb2.ClientFrame(group=add).SerializeToString()
                await node.dispatcher.handle([logic_pb2.HandleItem(user="olga", session="s", frame=frame, trace=trace)])
            spans = ended(exporter)
        assert {push.trace for push in node.pushes()} == {trace}
        assert [span.name for span in spans] == ["publish", "logic request", "group"]
        assert len({span.context.trace_id for span in spans if span.context}) == 1
