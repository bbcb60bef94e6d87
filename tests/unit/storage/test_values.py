"""Membership, paging, the cache, keys and settings: values without a node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.app import limits_of, policy_of
from services.storage.limits import Limits
from services.storage.memory.cache import Cache
from services.storage.memory.conversation import CachedMember
from services.storage.messages import membership
from services.storage.pages.paging import bytes_for, encode, history_page, history_window
from services.storage.pages.places import ListToken, Place, Places
from services.storage.repository.keys import number_of, numbered, paired, pairs_of, second_of
from services.storage.repository.records import ConversationDocument, StoredMessage
from services.storage.settings import StorageSettings
from services.storage.upkeep.retention import RetentionPolicy
from tests.unit.storage.nodes import change, create
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import message_id, slot_of

G = "g:1"
names = st.text("abcXYZ019._-@:", min_size=1, max_size=64)


# ---- membership


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


# ---- pages


def test_an_encoded_message_is_what_protobuf_reads() -> None:
    content = client_pb2.Content(text="hello", headers={"a": "b"})
    stored = StoredMessage("d:a|b", 300, "a", "key", 1_700_000_000_000, content.SerializeToString(), 2)
    assert client_pb2.Message.FromString(encode(stored)) == client_pb2.Message(
        message_id=message_id("d:a|b", 300),
        conversation="d:a|b",
        seq=300,
        sender="a",
        time_ms=1_700_000_000_000,
        content=content,
        kind=client_pb2.Message.SYSTEM,
        client_id="key",
    )


@given(
    st.integers(0, 30),
    st.integers(0, 12),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(0, 40)),
    st.one_of(st.none(), st.integers(0, 40)),
    st.integers(1, 7),
)
def test_pages_one_after_the_other_show_everything_once(
    head: int, first_seq: int, lowest: int, before: int | None, after: int | None, limit: int
) -> None:
    """Whatever retention took, wherever it begins, in both directions; `before` is ignored where `after` is given."""
    kept = {seq: StoredMessage("d:a|b", seq, "a", str(seq), 0, b"x" * 10) for seq in range(max(first_seq, 1), head + 1)}
    begin = max(lowest, 1)
    wanted = [seq for seq in kept if seq >= begin]
    item = pb.HistoryItem(conversation="d:a|b", limit=limit, first_seq=lowest)
    if after is not None:
        item.after = after
        wanted = [seq for seq in wanted if seq > after]
    elif before is not None:
        item.before = before
        wanted = [seq for seq in wanted if seq < before]
    seen: list[int] = []
    for _ in range(60):
        window = history_window(item, 10_000)
        inside = [kept[seq] for seq in sorted(kept) if window.span.after < seq < window.span.before]
        page = history_page(
            window,
            (inside[::-1] if window.descending else inside)[: window.span.limit],
            head=head,
            first_seq=first_seq,
        )
        found = [client_pb2.Message.FromString(entry.message).seq for entry in page.entries]
        assert len(found) <= limit
        assert found == sorted(found)
        seen = seen + found if after is not None else found + seen
        if not page.more:
            break
        if after is not None:
            item.after = page.next
        else:
            item.before = page.next
    assert seen == wanted


def test_many_pages_in_one_answer_share_its_bytes() -> None:
    assert bytes_for(0, 1) == 128 * 1024
    assert bytes_for(1000, 1) == 1000
    assert bytes_for(0, 1000) * 1000 <= 12 * 1024 * 1024


# ---- lists


def test_places_sort_newest_first_and_come_back_from_their_text() -> None:
    places = [Place(5, "g:b"), Place(9, "g:a"), Place(5, "d:a|b")]
    assert sorted(places) == [Place(9, "g:a"), Place(5, "d:a|b"), Place(5, "g:b")]
    assert [Place.parse(str(place)) for place in places] == places
    for wrong in ("", "x", "5", "~g:a", "-5~g:a", "²~d:a|b", "٣~g:a", "1" * 20 + "~g:a", "1_0~g:a", " 1~g:a"):
        with pytest.raises(BadRequest):
            Place.parse(wrong)


def test_tokens_come_back_from_their_text_and_one_of_the_version_before_is_taken() -> None:
    first = ListToken(Place(5, "d:a|b"), 7, 1_700_000_000_000)
    for token in (first, first.second, first.second.at(Place(9, "g:a")), ListToken(Place(5, "g:b"), None, 0)):
        assert ListToken.parse(str(token)) == token
    for wrong in ("", "5~g:a~", "5~g:a~7", "5~g:a~7~8~3", "5~g:a~²~8", "5~g:a~7~8~2~", "5~g:a~7~" + "9" * 20):
        with pytest.raises(BadRequest):
            ListToken.parse(wrong)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9))), st.integers(1, 4))
def test_places_stay_in_order_whatever_moves(moves: list[tuple[str, int]], count: int) -> None:
    places, times = Places(), {"a": 3, "b": 3, "c": 7}
    places.fill(times.items())
    places.fill([("d", 5)])
    places.sort()
    times["d"] = 5
    for conversation, last_ms in moves:
        places.move(conversation, last_ms)
        times[conversation] = max(times.get(conversation, 0), last_ms)
    found: list[Place] = []
    while page := places.after(found[-1] if found else None, count):
        found += page
    assert found == sorted(Place(last_ms, conversation) for conversation, last_ms in times.items())
    places.move("unknown", 9, known_only=True)
    assert len(places) == len(times)


# ---- the cache


def test_a_cache_forgets_what_was_used_longest_ago_but_nothing_dirty() -> None:
    cache: Cache[str] = Cache(2, lambda _: 1, lambda entry: entry == "dirty")
    cache.put("a", "dirty")
    cache.put("b", "x")
    cache.put("c", "y")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("dirty", None, "y")
    cache.put("d", "dirty")
    cache.put("e", "dirty")
    assert cache.is_over
    assert cache.get("c") is None


def test_a_cache_drops_the_slots_it_is_told() -> None:
    cache: Cache[int] = Cache(10, lambda weight: weight)
    for name in ("a", "b"):
        cache.put(name, 1)
    assert cache.drop_slots({slot_of("a")}) == 1
    assert (cache.peek("a"), cache.peek("b"), cache.weight) == (None, 1, 1)


def test_a_cache_is_bounded_by_what_its_entries_weigh_also_when_they_grow() -> None:
    cache: Cache[list[int]] = Cache(10, len)
    cache.put("a", [1] * 4)
    cache.put("b", [1] * 6)
    assert cache.weight == 10
    grown = cache.get("a")
    assert grown is not None
    grown += [1] * 9
    assert cache.get("a") is grown, "what is used is kept, whatever it weighs"
    assert (cache.weight, len(cache)) == (19, 2)
    cache.put("c", [1])
    assert (cache.weight, len(cache), cache.peek("c")) == (1, 1, [1])
    cache.put("d", [1] * 99)
    assert (len(cache), cache.peek("d")) == (1, [1] * 99), "the one used last stays"


# ---- keys


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), names)
def test_numbered_keys_sort_as_their_numbers(one: int, other: int, name: str) -> None:
    assert (numbered(name, one) < numbered(name, other)) == (one < other)
    assert number_of(numbered(name, one)) == one


@given(names, names, names)
def test_paired_keys_lie_within_the_bounds_of_their_first_part_only(first: str, second: str, other: str) -> None:
    low, high = pairs_of(first)
    assert low < paired(first, second) < high
    assert (low < paired(other, second) < high) == (other == first)
    assert second_of(paired(first, second)) == second


# ---- settings


def test_settings_become_limits_and_policy() -> None:
    settings = StorageSettings(node="storage-0", message_retention_days=3, store_lanes=7)
    assert limits_of(settings) == Limits(store_lanes=7)
    assert policy_of(settings) == RetentionPolicy(message_days=3)


def test_budgets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match="not even one try would fit"):
        StorageSettings(node="storage-0", mongodb_timeout_s=1.9)
    with pytest.raises(ValidationError, match="the answer would come too late"):
        StorageSettings(node="storage-0", rpc_timeout_s=1.0)
