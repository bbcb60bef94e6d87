"""What a change does to the members of a group, as a value."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.loading import membership
from services.storage.memory.conversation import CachedMember
from services.storage.repository.records import ConversationDocument, StoredMessage
from tests.unit.storage.nodes import change, create

G = "g:1"


def test_deciding_twice_gives_the_same() -> None:
    document = ConversationDocument(G, 2, version=3, stamp=7, member_count=1)
    add = change(G, "ann", "op", 3, joins=["bob"])
    made = [
        membership.decide(document, {"ann": CachedMember("ann")}, add, notice_seq=5, head=5, now_ms=9) for _ in range(2)
    ]
    assert made[0] == made[1]
    assert (made[0].version, made[0].stamp, made[0].member_count, made[0].applied_seq) == (4, 8, 2, 5)


def test_what_is_pending_writes_the_same_members_as_the_change() -> None:
    members = {"ann": CachedMember("ann", role=3), "bob": CachedMember("bob")}
    document = ConversationDocument(G, 2, version=1, stamp=1, member_count=2)
    item = change(G, "ann", "op", 1, joins=["cid"], removed=["bob"])
    writes = membership.writes_of(membership.decide(document, members, item, notice_seq=4, head=4, now_ms=9))
    assert [(write.user, write.gone, write.joined_seq, write.read_seq, write.stamp) for write in writes] == [
        ("cid", False, 4, 4, 2),
        ("bob", True, 1, 0, 2),
    ]


def test_when_a_group_becomes_large_all_its_members_are_written() -> None:
    members = {"ann": CachedMember("ann", role=3, read_seq=4), "bob": CachedMember("bob")}
    document = ConversationDocument(G, 2, version=1, stamp=1, member_count=2)
    item = change(G, "ann", "op", 1, joins=["cid"], becomes_large=True)
    made = membership.decide(document, members, item, notice_seq=5, head=6, now_ms=9)
    assert made.large_from == 7
    assert {(write.user, write.large, write.role) for write in membership.writes_of(made)} == {
        ("ann", True, 3),
        ("bob", True, 1),
        ("cid", True, 1),
    }


def test_nothing_pending_writes_nothing() -> None:
    assert membership.writes_of(ConversationDocument(G, 2)) == []


def test_a_notice_carries_who_gets_it_and_the_first_one_the_whole_change() -> None:
    item = change(G, "ann", "op", 1, joins=["bob"], notices=[["ann"], ["bob"]])
    assert pb.ChangeItem.FromString(membership.carried(item, 0)) == item
    second = pb.ChangeItem.FromString(membership.carried(item, 1))
    assert (second.op, list(second.notices[0].recipients), list(second.set)) == ("", ["bob"], [])


def test_only_quiet_joins_of_one_version_are_merged() -> None:
    join = change(G, "a", "a", 1, joins=["a"], keep_version=True)
    other = change(G, "b", "b", 1, joins=["b"], keep_version=True)
    assert membership.can_merge(join, other)
    assert [record.user for record in membership.merged([join, other]).set] == ["a", "b"]
    assert not membership.can_merge(join, change(G, "b", "b", 2, joins=["b"], keep_version=True))
    assert not membership.can_merge(join, change(G, "b", "b", 1, removed=["b"]))
    assert not membership.can_merge(join, create(G, "b"))


def test_recipients_before_a_change_are_those_who_were_members_then() -> None:
    def message(seq: int, item: pb.ChangeItem | None = None) -> StoredMessage:
        carried = membership.carried(item, 0) if item is not None else b""
        return StoredMessage(G, seq, "ann", str(seq), 0, b"", 1, carried)

    swap = change(G, "ann", "op", 1, joins=["cid"], removed=["bob"], notices=[["ann", "bob", "cid"]])
    tail = [message(3), message(4, swap), message(5)]
    found = membership.recipients_of(tail, ["ann", "cid"], 0)
    assert [(each.seq, sorted(users)) for each, users in found] == [
        (3, ["ann", "bob"]),
        (4, ["ann", "bob", "cid"]),
        (5, ["ann", "cid"]),
    ]
    assert [sorted(users) for _, users in membership.recipients_of(tail, ["ann", "cid"], 5)][2] == []
