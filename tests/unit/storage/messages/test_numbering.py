"""Numbers for messages, as a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1.storage_pb2 import ActorRights
from services.storage.folding.judge import Actor
from services.storage.loading.duplicates import RecentSends
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.messages.acts import Act
from services.storage.messages.numbering import MessageDraft, NumberingBatch, Status
from services.storage.repository.records import CHANGE, SYSTEM, ClientKey, ConversationDocument, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import ConversationKind

CHAT = "d:ann|bob"


def chat(name: str = CHAT, head: int = 0) -> CachedConversation:
    """As a load gives it: all is settled."""
    document = ConversationDocument(name, 1)
    return CachedConversation(name, ConversationKind.DIRECT, document, exists=True, head=head, settled=head)


def draft(conversation: CachedConversation, client_id: str, **fields: int) -> MessageDraft:
    key = ClientKey(conversation.id, "ann", client_id)
    return MessageDraft(conversation, key, b"x", **fields)  # type: ignore[arg-type]  # only ints are given


def stored(conversation: CachedConversation, seq: int, client_id: str) -> StoredMessage:
    return StoredMessage(conversation.id, seq, "ann", client_id, 5, b"first")


def test_a_plan_follows_each_head() -> None:
    one, other = chat(head=4), chat("d:ann|cid")
    plan = NumberingBatch([draft(one, "a"), draft(other, "b"), draft(one, "c")], RecentSends(10), 100).plan()
    assert [(message.conversation, message.seq) for message in plan] == [(CHAT, 5), ("d:ann|cid", 1), (CHAT, 6)]


def test_what_was_not_committed_is_planned_again_with_the_same_numbers() -> None:
    conversation = chat()
    batch = NumberingBatch([draft(conversation, key) for key in "abc"], RecentSends(10), 100)
    batch.plan()
    batch.committed(1)
    assert conversation.head == 1
    assert [(message.seq, message.client_id) for message in batch.plan()] == [(2, "b"), (3, "c")]


def test_what_somebody_else_wrote_moves_the_rest_up() -> None:
    conversation = chat()
    drafts = [draft(conversation, key) for key in "abc"]
    batch = NumberingBatch(drafts, RecentSends(10), 100)
    batch.plan()
    batch.committed(0)
    fresh = chat(head=7)
    batch.reload(fresh)
    batch.resolve({drafts[1].key: stored(fresh, 6, "b")})
    assert [(message.seq, message.client_id) for message in batch.plan()] == [(8, "a"), (9, "c")]
    assert (drafts[1].status, drafts[1].seq, drafts[1].time_ms) == (Status.DUPLICATE, 6, 5)


def test_a_known_client_id_is_not_planned() -> None:
    conversation, recent = chat(head=3), RecentSends(10)
    recent.add(ClientKey(CHAT, "ann", "a"), 2)
    drafts = [draft(conversation, "a"), draft(conversation, "b")]
    assert [message.client_id for message in NumberingBatch(drafts, recent, 0).plan()] == ["b"]
    assert (drafts[0].status, drafts[0].seq) == (Status.DUPLICATE, 2)


def test_an_entry_names_one_that_is_there_and_only_if_its_kind_may() -> None:
    conversation = chat(head=4)
    drafts = [
        draft(conversation, "first", target=1),
        draft(conversation, "last", target=4),
        draft(conversation, "the one planned before", target=6),
        draft(conversation, "beyond the head", target=8),
        draft(conversation, "a notice names none", target=1, kind=SYSTEM),
        draft(conversation, "nothing is known of this kind", target=1, kind=99),
        draft(conversation, "which names none", kind=99),
    ]
    plan = NumberingBatch(drafts, RecentSends(10), 100).plan()
    assert [message.client_id for message in plan] == [*(each.key.client_id for each in drafts[:3]), "which names none"]
    assert {each.status for each in drafts[3:6]} == {Status.NO_SUCH_TARGET}


def test_a_further_notice_shares_the_fate_of_the_first() -> None:
    group = CachedConversation("g:1", ConversationKind.GROUP, ConversationDocument("g:1", 2, version=5), exists=True)
    for version, expected in ((4, Status.STALE), (5, Status.OPEN)):
        first = draft(group, f"op{version}", version=version)
        second = MessageDraft(group, ClientKey("g:1", "ann", f"op{version}.1"), b"", fence=first)
        NumberingBatch([first, second], RecentSends(10), 0).plan()
        assert (first.status, second.status) == (expected, expected)


def test_a_creation_needs_that_there_is_no_group_and_a_message_that_there_is_one() -> None:
    there = CachedConversation("g:1", ConversationKind.GROUP, ConversationDocument("g:1", 2, version=5), exists=True)
    nothing = CachedConversation("g:2", ConversationKind.GROUP, ConversationDocument("g:2", 2))
    drafts = [
        draft(there, "a", creates=True),
        draft(nothing, "b", creates=True),
        draft(nothing, "c"),
        draft(there, "d", version=5),
    ]
    NumberingBatch(drafts, RecentSends(10), 0).plan()
    assert [each.status for each in drafts] == [Status.STALE, Status.OPEN, Status.STALE, Status.OPEN]


def test_the_senders_cursor_moves_with_the_message() -> None:
    conversation = chat(head=2)
    conversation.members = {"ann": CachedMember("ann", read_seq=2), "bob": CachedMember("bob")}
    drafts = [draft(conversation, "a"), draft(conversation, "b")]
    batch = NumberingBatch(drafts, RecentSends(10), 0)
    batch.plan()
    batch.committed(2)
    assert (conversation.members["ann"].read_seq, conversation.moved["ann"].read_seq) == (4, 4)
    assert [each.read_over for each in drafts] == [False, False]


def test_what_was_there_but_is_not_settled_stays_open_until_it_is_loaded() -> None:
    conversation, recent = chat(head=4), RecentSends(10)
    drafts = [draft(conversation, "a"), draft(conversation, "b")]
    recent.add(drafts[1].key, 5)
    batch = NumberingBatch(drafts, recent, 0)
    batch.resolve({drafts[0].key: stored(conversation, 5, "a")})
    assert [message.client_id for message in batch.plan()] == ["a", "b"]
    fresh = chat(head=6)
    batch.reload(fresh)
    batch.resolve({drafts[0].key: stored(fresh, 5, "a"), drafts[1].key: stored(fresh, 6, "b")})
    assert [each.status for each in drafts] == [Status.DUPLICATE, Status.DUPLICATE]


def test_failed_drafts_are_not_planned_again() -> None:
    conversation = chat()
    drafts = [draft(conversation, "a")]
    batch = NumberingBatch(drafts, RecentSends(10), 0)
    error = Unavailable("away")
    batch.fail(CHAT, error)
    assert batch.plan() == []
    assert (drafts[0].status, drafts[0].error) == (Status.FAILED, error)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), max_size=20),
    st.lists(st.integers(0, 5), max_size=10),
    st.lists(st.integers(0, 4), min_size=10, max_size=10),
)
def test_however_far_each_insert_comes_numbers_are_dense_and_client_ids_unique(
    sends: list[tuple[int, int]], progress: list[int], foreign: list[int]
) -> None:
    """An insert does some, then somebody else takes the next numbers of one conversation."""
    there: dict[int, dict[int, str]] = {index: {} for index in range(3)}
    heads = {index: chat(f"d:a|{index}") for index in range(3)}
    drafts = [draft(heads[index], f"c{key}") for index, key in sends]
    batch = NumberingBatch(drafts, RecentSends(1000), 0)
    for step in range(len(sends) + len(progress) + 2):
        plan = batch.plan()
        if not plan:
            break
        count = min(progress[step], len(plan)) if step < len(progress) else len(plan)
        for message in plan[:count]:
            place = int(message.conversation[-1])
            assert message.seq == len(there[place]) + 1
            there[place][message.seq] = message.client_id
        batch.committed(count)
        if count < len(plan):
            place = int(plan[count].conversation[-1])
            for other in range(foreign[step % 10]):
                there[place][len(there[place]) + 1] = f"other {step} {other}"
            fresh = chat(f"d:a|{place}", head=len(there[place]))
            batch.reload(fresh)
    assert not batch.open
    for messages in there.values():
        assert sorted(messages) == list(range(1, len(messages) + 1))
        assert len(set(messages.values())) == len(messages)
    for (index, key), each in zip(sends, drafts, strict=True):
        assert each.status in (Status.STORED, Status.DUPLICATE)
        assert there[index][each.seq] == f"c{key}"


def change_of(conversation: CachedConversation, client_id: str, target: int, sender: str = "ann") -> MessageDraft:
    act = Act(client_pb2.Change(seq=target, recall=client_pb2.Change.Recall()), Actor(sender, ActorRights()))
    return MessageDraft(conversation, ClientKey(conversation.id, sender, client_id), b"", CHANGE, act=act)


def test_a_change_takes_a_seq_and_no_ordinal_and_is_nobodys_last() -> None:
    conversation = chat(head=1)
    batch = NumberingBatch([change_of(conversation, "r", 1), draft(conversation, "a")], RecentSends(10), 100)
    assert batch.unknown() == [(CHAT, 1)]
    batch.targets.learn([(CHAT, 1)], {(CHAT, 1): stored(conversation, 1, "first")})
    change, message = batch.plan()
    assert [(each.seq, each.before, each.ordinal) for each in (change, message)] == [(2, 0, 0), (3, 1, 2)]
    batch.committed(1)
    assert (conversation.head, conversation.changes, conversation.shown, conversation.last_ms) == (2, 1, 0, 0)
    batch.committed(0)
    batch.plan()
    batch.committed(1)
    assert (conversation.head, conversation.shown, conversation.last_ms) == (3, 3, 100)


def test_what_was_refused_because_of_the_plan_is_open_again_if_the_plan_is_in_doubt() -> None:
    conversation = chat(head=1)
    first, second = change_of(conversation, "r", 1), change_of(conversation, "s", 1)
    batch = NumberingBatch([first, second], RecentSends(10), 100)
    batch.targets.learn([(CHAT, 1)], {(CHAT, 1): stored(conversation, 1, "first")})
    assert [each.client_id for each in batch.plan()] == ["r"]
    assert second.status is Status.NO_EFFECT
    batch.doubt()
    assert (batch.open, second.status) == ([first, second], Status.OPEN)
    batch.plan()
    batch.committed(1)
    assert (batch.open, first.status, second.status) == ([], Status.STORED, Status.NO_EFFECT)


def test_targets_of_a_conversation_that_was_loaded_again_are_to_be_read_again() -> None:
    conversation = chat(head=1)
    batch = NumberingBatch([change_of(conversation, "r", 1)], RecentSends(10), 100)
    batch.targets.learn([(CHAT, 1)], {(CHAT, 1): stored(conversation, 1, "first")})
    assert batch.unknown() == []
    batch.plan()
    batch.committed(0)
    batch.reload(chat(head=4))
    assert batch.unknown() == [(CHAT, 1)]


def test_what_is_not_known_as_a_message_is_read_before_it_is_replied_to() -> None:
    conversation = chat(head=4)
    conversation.changes, conversation.changes_from = 1, 4
    batch = NumberingBatch([draft(conversation, "a", target=3), draft(conversation, "b", target=4)], RecentSends(10), 0)
    assert batch.unknown() == [(CHAT, 3)]
    batch.targets.learn([(CHAT, 3)], {(CHAT, 3): stored(conversation, 3, "x")._replace(kind=CHANGE)})
    assert [each.client_id for each in batch.plan()] == ["b"]
