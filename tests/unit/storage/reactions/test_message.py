"""A message with reactions in memory, against what the log has announced."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.message import ReactedMessage, Told, announced_in, is_recalled
from services.storage.reactions.news import News
from services.storage.reactions.tally import Tally
from services.storage.repository.reactions import ReactionCount
from services.storage.repository.records import ConversationDocument, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.ids import ConversationKind

TARGET = ("g:1", 7)
CONVERSATION = CachedConversation("g:1", ConversationKind.GROUP, ConversationDocument("g:1", 2))


def target(*reactions: client_pb2.Reaction, **state: object) -> StoredMessage:
    folded = pb.FoldedState(state=client_pb2.State(reactions=reactions, **state))  # type: ignore[arg-type]
    return StoredMessage(*TARGET, "ann", "x", 1000, b"", state=folded.SerializeToString())


def reacted(*counts: ReactionCount) -> ReactedMessage:
    return ReactedMessage(CONVERSATION, Tally(TARGET, counts))


LIKE = client_pb2.Reaction(reaction="+", count=2, users=["ann", "bob"])


def test_a_set_is_ahead_of_the_log_if_anything_of_it_is_another_one() -> None:
    assert not reacted(ReactionCount("+", 2, 5, ("ann", "bob"))).is_ahead(target(LIKE))
    assert reacted(ReactionCount("+", 3, 5, ("ann", "bob"))).is_ahead(target(LIKE))
    assert reacted(ReactionCount("+", 2, 5, ("bob", "cid"))).is_ahead(target(LIKE))
    assert reacted().is_ahead(target(LIKE))
    assert not reacted().is_ahead(StoredMessage(*TARGET, "ann", "x", 1000, b""))


def test_its_state_has_what_is_there_now_and_all_else_that_changes_made() -> None:
    message = target(LIKE, revision=9, edited_ms=5, pinned=True)
    state = client_pb2.State.FromString(reacted(ReactionCount("-", 1, 5, ("cid",))).state(message, 0))
    assert state == client_pb2.State(
        revision=9, edited_ms=5, pinned=True, reactions=[client_pb2.Reaction(reaction="-", count=1, users=["cid"])]
    )
    assert announced_in(message) == [LIKE]


def test_one_that_is_read_again_keeps_what_is_known_besides() -> None:
    before, after = reacted(), reacted()
    before.news, before.announced_s, before.is_marked = News("ann"), 5.0, True
    before.told = Told(pb.StoreOutcome(seq=9), ["ann"] * 40, frozenset(), ("ann", "x"))
    after.take_over(before)
    assert (after.news.by, after.announced_s, after.is_marked, after.told) == ("ann", 5.0, False, before.told)
    assert after.weight == reacted().weight + 10


def test_a_message_is_recalled_by_somebody_or_by_its_time() -> None:
    assert not is_recalled(target(LIKE), 5)
    assert is_recalled(target(recalled_by="bob"), 5)
    assert is_recalled(target(LIKE)._replace(expires_ms=5), 5)
    assert not is_recalled(target(LIKE)._replace(expires_ms=6), 5)
