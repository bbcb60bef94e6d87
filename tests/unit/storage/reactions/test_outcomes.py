"""What acts on reactions are answered with."""

from __future__ import annotations

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.message import ReactedMessage, Told
from services.storage.reactions.outcomes import is_answered_with, outcome_of
from services.storage.reactions.tally import Tally
from services.storage.reactions.turn import ReactAct, Reads
from services.storage.repository.reactions import ReactionCount
from services.storage.repository.records import ConversationDocument, MessageKey, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, NotFound, Unavailable
from tidings_protocol.ids import ConversationKind

Outcome = pb.StoreOutcome
TARGET = ("g:1", 7)
ENTRY = Told(Outcome(seq=8, numbers=[3, 4]), ("ann", "bob"), frozenset({("ann", "a"), ("bob", "b")}), ("bob", "b"))


def act(user: str, client_id: str, *, changed: bool = True) -> ReactAct:
    change = client_pb2.Change(seq=7, react="+").SerializeToString()
    special = common_pb2.Special(change=change)
    item = pb.StoreItem(
        conversation="g:1", sender=user, client_id=client_id, special=special, recipients=["bob", "zoe"]
    )
    made = ReactAct.from_item(item)
    made.changed = changed
    return made


def reads(told: Told | None = None) -> Reads:
    conversation = CachedConversation("g:1", ConversationKind.GROUP, ConversationDocument("g:1", 2))
    reacted = ReactedMessage(conversation, Tally(TARGET, [ReactionCount("+", 1, 5, ("ann",))]), told=told)
    return Reads({"g:1": conversation}, {TARGET: StoredMessage(*TARGET, "zoe", "x", 1, b"")}, {}, {}, {TARGET: reacted})


def test_the_last_act_that_an_entry_tells_of_is_answered_with_it() -> None:
    last, other = act("bob", "b"), act("ann", "a")
    assert (is_answered_with(last, ENTRY), is_answered_with(other, ENTRY)) == (True, False)
    outcome = outcome_of(last, reads(), ENTRY, {}, 9)
    assert outcome == Outcome(status=Outcome.STORED, seq=8, numbers=[4, 0])


def test_any_other_act_is_answered_with_the_state_which_is_made_once_for_all() -> None:
    states: dict[MessageKey, bytes] = {}
    outcome = outcome_of(act("ann", "a"), reads(), ENTRY, states, 9)
    assert isinstance(outcome, Outcome)
    [reaction] = client_pb2.State.FromString(outcome.state).reactions
    assert (outcome.seq, outcome.time_ms, reaction.reaction, reaction.count) == (0, 9, "+", 1)
    assert states == {TARGET: outcome.state}


def test_a_repeat_of_what_the_newest_entry_told_is_a_duplicate_of_it() -> None:
    outcome = outcome_of(act("ann", "a", changed=False), reads(ENTRY), None, {}, 9)
    assert outcome == Outcome(status=Outcome.DUPLICATE, seq=8, numbers=[4, 0])


def test_who_is_to_blame_is_refused_and_what_may_pass_is_an_error() -> None:
    stale, bad, away = act("ann", "a"), act("ann", "a"), act("ann", "a")
    stale.is_stale, bad.error, away.error = True, BadRequest("no"), Unavailable("away")
    assert outcome_of(stale, reads(), None, {}, 9) == Outcome(status=Outcome.STALE)
    refused = outcome_of(bad, reads(), None, {}, 9)
    assert isinstance(refused, Outcome)
    assert (refused.status, refused.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
    assert outcome_of(away, reads(), None, {}, 9) is away.error
    gone = outcome_of(act("ann", "a"), reads(), NotFound("gone"), {}, 9)
    assert isinstance(gone, Outcome)
    assert (gone.status, gone.fault.code) == (Outcome.REFUSED, "NOT_FOUND")
