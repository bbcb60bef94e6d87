"""What is kept in memory weighs what its settings say, and fits into what a node is given."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from services.storage.inboxes.numbering import ENTRY_BYTES, CachedInbox
from services.storage.loading.documents import cached_from
from services.storage.memory.conversation import CHANGES_MAX, MEMBER_BYTES, CachedConversation, CachedMember
from services.storage.repository.records import CHANGE, ConversationDocument, StoredMessage
from services.storage.sessions.known import SESSION_BYTES
from services.storage.settings import StorageSettings
from tidings_protocol.ids import ConversationKind

ROOT = Path(__file__).resolve().parents[4]
COUNT = 100
# Before anything is cached, with the client ids that are remembered and what batches under way need at once.
REST_BYTES = 300 * 1024 * 1024


def own(text: str) -> str:
    """A string that nobody else has, as a decoder makes it."""
    return (text + "\0")[:-1]


def group(number: int, members: int) -> CachedConversation:
    key = own(f"g:{number:024}")
    document = ConversationDocument(own(key), 2, own(f"group {number}"), head=10**6 + number, last_ms=10**12 + number)
    conversation = CachedConversation(key, ConversationKind.GROUP, document, exists=True, head=10**6 + number)
    for each in range(members):
        user = own(f"user-{number}-{each:012}")
        conversation.members[user] = CachedMember(user, 1, 1000 + each, 10**12 + each, 2000 + each, 3000 + each)
        conversation.move(user, 5000 + each, 6000 + each)
    return conversation


def inbox(number: int, entries: int) -> CachedInbox:
    made = CachedInbox(own(f"user-{number:016}"), max(entries, 8))
    made.head = 10**6 * number
    made.held, made.devices = 10**6, {own(f"device-{number:012}"): 10**6 + number}
    for each in range(entries):
        made.push(own(f"d:user-{each:016}|user-{number:016}"), 1000 + each, each)
    return made


def measured(make: Callable[[int], CachedConversation | CachedInbox]) -> float:
    """Bytes for each unit of weight."""
    gc.collect()
    tracemalloc.start()
    kept = [make(number) for number in range(COUNT)]
    took = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return took / sum(each.weight for each in kept)


@pytest.mark.parametrize("members", [0, 2, 20, 200])
def test_a_conversation_takes_what_it_weighs(members: int) -> None:
    assert measured(lambda number: group(number, members)) <= MEMBER_BYTES * 1.1


@pytest.mark.parametrize("entries", [0, 8, 64])
def test_an_inbox_takes_what_it_weighs(entries: int) -> None:
    assert measured(lambda number: inbox(number, entries)) <= ENTRY_BYTES * 1.1


def test_full_caches_fit_into_what_a_pod_is_given() -> None:
    settings = StorageSettings.model_fields
    kept = settings["cached_members_max"].default * MEMBER_BYTES + settings["cached_entries_max"].default * ENTRY_BYTES
    kept += settings["cached_sessions_max"].default * SESSION_BYTES
    (pod,) = (
        each
        for each in yaml.safe_load_all((ROOT / "deploy/k8s/base/storage.yaml").read_text())
        if each["kind"] == "Deployment"
    )
    limit = pod["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert limit.endswith("Gi")
    assert kept + REST_BYTES <= int(limit.removesuffix("Gi")) * 2**30


def test_an_older_message_that_a_load_looks_at_again_moves_nobody_back() -> None:
    conversation = CachedConversation(
        "d:ann|bob", ConversationKind.DIRECT, ConversationDocument("d:ann|bob", 1), head=9
    )
    conversation.members["ann"] = CachedMember("ann", read_seq=8, delivered_seq=9)
    conversation.sent("ann", 5)
    member = conversation.members["ann"]
    assert (member.read_seq, member.delivered_seq, conversation.moved) == (8, 9, {})


def test_what_is_a_change_is_remembered_of_the_newest() -> None:
    chat = CachedConversation("d:ann|bob", ConversationKind.DIRECT, ConversationDocument("d:ann|bob", 1), exists=True)
    assert chat.is_message(7), "there is no CHANGE at all"
    for seq in range(1, 2 * CHANGES_MAX, 2):
        chat.head = seq
        chat.stored_change(seq)
    assert chat.changes == CHANGES_MAX
    assert [chat.is_message(seq) for seq in (1, 2, 3, 4)] == [False, True, False, True]
    chat.stored_change(2 * CHANGES_MAX + 1)
    assert [chat.is_message(seq) for seq in (1, 2, 3, 4)] == [False, False, False, True]


def test_of_a_tail_it_is_known_what_is_a_change_and_of_what_was_before_it_is_not() -> None:
    document = ConversationDocument("d:ann|bob", 1, head=4, settled=4, changes=1)
    chat = cached_from("d:ann|bob", document, ())
    assert not chat.is_message(2)
    change = StoredMessage("d:ann|bob", 5, "ann", "c", 1, b"", CHANGE, before=1)
    chat.take_tail([change, StoredMessage("d:ann|bob", 6, "ann", "d", 1, b"", before=2)])
    assert (chat.changes, chat.shown) == (2, 6)
    assert [chat.is_message(seq) for seq in (4, 5, 6)] == [False, False, True]
