"""One batch of reactions, judged on what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.message import ReactedMessage
from services.storage.reactions.rates import ACTS_MAX, ActRates
from services.storage.reactions.tally import Tally
from services.storage.reactions.turn import ACTS_KNOWN, DIFFERENT_MAX, OF_USER_MAX, ReactAct, ReactTurn, Reads
from services.storage.repository.reactions import ReactionCount, ReactionKey, ReactionWrite, Reactor, StoredReaction
from services.storage.repository.records import (
    CHANGE,
    SYSTEM,
    ClientKey,
    ConversationDocument,
    MessageKey,
    StoredMessage,
)
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound, TidingsError, Unavailable
from tidings_protocol.ids import ConversationKind

GROUP = "g:1"
TARGET: MessageKey = (GROUP, 7)
MESSAGE = StoredMessage(GROUP, 7, "zoe", "x", 1000, b"")
NOW_MS = 5000


def group(version: int = 3, first_seq: int = 0) -> CachedConversation:
    document = ConversationDocument(GROUP, 2, version=version)
    return CachedConversation(GROUP, ConversationKind.GROUP, document, exists=True, first_seq=first_seq)


def act(
    user: str,
    reaction: str = "+",
    *,
    removes: bool = False,
    seq: int = 7,
    version: int = 3,
    first_seq: int = 0,
    client_id: str = "",
) -> ReactAct:
    change = client_pb2.Change(seq=seq, **{"unreact" if removes else "react": reaction})  # type: ignore[arg-type]
    return ReactAct.from_item(
        pb.StoreItem(
            conversation=GROUP,
            sender=user,
            client_id=client_id or f"{user} {reaction} {removes}",
            version=version,
            special=common_pb2.Special(change=change.SerializeToString()),
            rights=pb.ActorRights(first_seq=first_seq),
        )
    )


@dataclass
class Scene:
    """What was read before the turn."""

    conversation: CachedConversation | TidingsError = field(default_factory=group)
    message: StoredMessage | None = MESSAGE
    given: Sequence[tuple[str, str]] = ()
    taken: Sequence[ClientKey] = ()
    rates: ActRates = field(default_factory=ActRates)
    turn: ReactTurn = field(init=False)

    def judged(self, *acts: ReactAct) -> ReactTurn:
        """The turn after these acts."""
        stored = [
            StoredReaction(*TARGET, user, each, at, at, ("before",))
            for at, (user, each) in enumerate(self.given, start=1)
        ]
        by_reaction: dict[str, list[StoredReaction]] = {}
        for each in stored:
            by_reaction.setdefault(each.reaction, []).append(each)
        counts = [
            ReactionCount(reaction, len(found), found[0].place, tuple(each.user for each in found[:3]))
            for reaction, found in by_reaction.items()
        ]
        conversation = self.conversation if isinstance(self.conversation, CachedConversation) else group()
        reads = Reads(
            {GROUP: self.conversation},
            {TARGET: self.message} if self.message else {},
            {Reactor(*TARGET, user): [each for each in stored if each.user == user] for user, _ in self.given},
            dict.fromkeys(self.taken, MESSAGE),
            {TARGET: ReactedMessage(conversation, Tally(TARGET, counts))},
        )
        self.turn = ReactTurn(reads, self.rates, 100.0, NOW_MS)
        self.turn.judge(acts)
        return self.turn

    def refused(self, only: ReactAct) -> TidingsError:
        """Why the act is not done."""
        turn = self.judged(only)
        assert only.error is not None
        assert not turn.changed
        assert not turn.written
        return only.error

    def shown(self) -> list[tuple[str, int, list[str]]]:
        tally = self.turn.reads.reacted[TARGET].tally
        return [(each.reaction, each.count, list(each.users)) for each in tally.shown()]


def test_reactions_go_into_the_set_in_their_order() -> None:
    scene = Scene()
    acts = [act("ann"), act("bob", "-"), act("cid")]
    turn = scene.judged(*acts)
    assert all(each.changed for each in acts)
    assert scene.shown() == [("+", 2, ["ann", "cid"]), ("-", 1, ["bob"])]
    assert [each.reaction.key for each in turn.writes()] == [
        ReactionKey(*TARGET, "ann", "+"),
        ReactionKey(*TARGET, "bob", "-"),
        ReactionKey(*TARGET, "cid", "+"),
    ]
    news = turn.reads.reacted[TARGET].news
    assert news.by == "cid"
    assert list(turn.changed) == [TARGET]


def test_a_repeat_changes_nothing() -> None:
    scene = Scene(given=[("ann", "+")])
    again, gone = act("ann"), act("bob", removes=True)
    turn = scene.judged(again, gone)
    assert again.is_done
    assert gone.is_done
    assert not again.changed
    assert not gone.changed
    assert not turn.changed
    assert not turn.writes()


def test_what_comes_and_goes_in_one_batch_is_gone_and_both_acts_are_known() -> None:
    scene = Scene()
    turn = scene.judged(act("ann", client_id="a"), act("ann", removes=True, client_id="b"))
    gone = StoredReaction(*TARGET, "ann", "+", acts=("a", "b"), gone=True)
    assert turn.writes() == [ReactionWrite(gone, None)]
    assert scene.shown() == []


def test_what_goes_and_comes_back_in_one_batch_has_a_new_place() -> None:
    scene = Scene(given=[("ann", "+"), ("bob", "-")])
    turn = scene.judged(act("ann", removes=True, client_id="a"), act("ann", client_id="b"))
    place = NOW_MS * 1000
    back = StoredReaction(*TARGET, "ann", "+", place, place, ("before", "a", "b"))
    assert turn.writes() == [ReactionWrite(back, ("before",))]
    assert [each[0] for each in scene.shown()] == ["-", "+"]


def test_an_act_that_was_done_is_a_repeat_whatever_came_after_it() -> None:
    scene = Scene(given=[("ann", "+")])
    late = act("ann", removes=True, client_id="before")
    assert not scene.judged(late).writes()
    assert late.is_done
    assert not late.changed


def test_only_the_last_acts_are_known() -> None:
    acts = [act("ann", removes=bool(number % 2), client_id=f"a{number}") for number in range(12)]
    [write] = Scene().judged(*acts).writes()
    assert write.reaction.acts == tuple(f"a{number}" for number in range(12 - ACTS_KNOWN, 12))


@pytest.mark.parametrize(
    ("message", "seen_from", "kept_from"),
    [
        (None, 0, 0),
        (MESSAGE._replace(kind=SYSTEM), 0, 0),
        (MESSAGE._replace(kind=CHANGE), 0, 0),
        (MESSAGE, 8, 0),
        (MESSAGE, 0, 8),
    ],
)
def test_only_a_message_that_is_there_for_the_user_is_reacted_to(
    message: StoredMessage | None, seen_from: int, kept_from: int
) -> None:
    scene = Scene(conversation=group(first_seq=kept_from), message=message)
    assert isinstance(scene.refused(act("ann", first_seq=seen_from)), NotFound)


def test_what_is_recalled_is_not_reacted_to() -> None:
    state = pb.FoldedState(state=client_pb2.State(revision=9, recalled_by="zoe"))
    recalled = MESSAGE._replace(state=state.SerializeToString())
    assert isinstance(Scene(message=recalled).refused(act("ann")), Forbidden)
    assert isinstance(Scene(message=MESSAGE._replace(expires_ms=NOW_MS)).refused(act("ann")), Forbidden)


def test_a_client_id_of_a_send_is_refused() -> None:
    taken = ClientKey(GROUP, "ann", "mine")
    assert isinstance(Scene(taken=[taken]).refused(act("ann", client_id="mine")), BadRequest)


def test_no_more_than_twenty_different_ones_are_on_a_message() -> None:
    given = [(f"u{number}", f"r{number}") for number in range(DIFFERENT_MAX)]
    assert isinstance(Scene(given=given).refused(act("ann", "one more")), BadRequest)
    one_of_them = act("ann", "r3")
    Scene(given=given).judged(one_of_them)
    assert one_of_them.changed
    first, back = act("u3", "r3", removes=True), act("ann", "one more")
    Scene(given=given).judged(first, back)
    assert back.changed, "there is room again"


def test_no_more_than_five_are_of_one_user() -> None:
    given = [("ann", f"r{number}") for number in range(OF_USER_MAX)]
    assert isinstance(Scene(given=given).refused(act("ann", "one more")), BadRequest)
    first, second = act("ann", "r0", removes=True), act("ann", "one more")
    Scene(given=given).judged(first, second)
    assert second.changed


def test_forty_acts_of_a_user_on_a_message_an_hour_and_repeats_are_none() -> None:
    scene = Scene()
    acts = [act("ann", removes=bool(number % 2), client_id=f"a{number}") for number in range(ACTS_MAX)]
    repeats = [act("ann", removes=True, client_id=f"b{number}") for number in range(10)]
    late = act("ann", client_id="late")
    scene.judged(*acts, *repeats, late)
    assert all(each.changed for each in acts)
    assert all(each.is_done and not each.changed for each in repeats)
    assert isinstance(late.error, BadRequest)
    scene.turn.take_back()
    assert scene.rates.allows(act("ann").reactor, 100.0), "none of it was stored"


def test_a_decision_on_an_old_version_is_stale() -> None:
    stale = act("ann", version=2)
    turn = Scene().judged(stale)
    assert stale.is_stale
    assert not stale.is_done
    assert not turn.changed


def test_a_conversation_that_cannot_be_had_is_the_error_of_its_acts() -> None:
    error = Unavailable("away")
    assert Scene(conversation=error).refused(act("ann")) is error


def test_a_direct_chat_has_no_version() -> None:
    conversation = group()
    direct = CachedConversation(GROUP, ConversationKind.DIRECT, replace(conversation.document, version=0), exists=True)
    only = act("ann", version=0)
    Scene(conversation=direct).judged(only)
    assert only.changed


def test_what_is_no_reaction_is_refused() -> None:
    change = client_pb2.Change(seq=7, pin=True).SerializeToString()
    with pytest.raises(BadRequest):
        ReactAct.from_item(pb.StoreItem(conversation=GROUP, special=common_pb2.Special(change=change)))
