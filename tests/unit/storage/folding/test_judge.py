"""May this be done to this entry? The table of judge.py, row by row."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.folding.fold import folded
from services.storage.folding.judge import ADMIN, OWNER, PINS_MAX, Actor, Place, Verdict, judge
from services.storage.repository.records import SYSTEM, StoredMessage
from tests.unit.storage.folding import documents as entries
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import OPERATOR, ConversationKind

Change = client_pb2.Change
EDIT = Change(seq=1, edit=client_pb2.Content())
RECALL = Change(seq=1, recall=Change.Recall())
PIN, UNPIN = Change(seq=1, pin=True), Change(seq=1, pin=False)
FINISH = Change(seq=1, finish=Change.Finish())
REACTED = Change(seq=1, reacted=Change.Reacted())
ALL = [EDIT, RECALL, PIN, FINISH, REACTED]
MEMBER = client_pb2.Member.MEMBER
MINUTE = 60_000

CHAT, GROUP = Place(ConversationKind.DIRECT), Place(ConversationKind.GROUP)
ALLOWED, NO_EFFECT = Verdict.ALLOWED, Verdict.NO_EFFECT


def who(user: str = "ann", **rights: object) -> Actor:
    return Actor(user, pb.ActorRights(**rights))  # type: ignore[arg-type]


def verdict(
    act: client_pb2.Change,
    actor: Actor,
    target: StoredMessage | None,
    place: Place = CHAT,
    now_ms: int = 5000,
) -> Verdict | str:
    """The verdict, or the code of the error."""
    found = judge(act, actor, target, place, now_ms)
    return found.code if isinstance(found, TidingsError) else found


STORAGE = Actor("ann", pb.ActorRights(), is_storage=True)
OPERATED = who(OPERATOR, is_operator=True)
RECALLED = folded(entries.message(), entries.recall(2))
PINNED = folded(entries.message(), entries.pin(2))
EXPIRED = entries.message()._replace(expires_ms=5000)
ENDED = folded(entries.streaming(), entries.finish(2, "all", 0))
NOTICE = entries.message()._replace(kind=SYSTEM, change=b"a change of the group")
FROM_OPERATOR = entries.message(sender=OPERATOR)._replace(kind=SYSTEM)


@pytest.mark.parametrize("act", ALL)
@pytest.mark.parametrize(
    ("target", "actor", "place"),
    [
        (None, who(), CHAT),
        (entries.message(), who(first_seq=2), CHAT),
        (entries.message(), who(), Place(ConversationKind.DIRECT, first_seq=2)),
        (entries.edit(1), who(), CHAT),
        (entries.edit(1), OPERATED, CHAT),
        (NOTICE, who(), CHAT),
        (NOTICE, OPERATED, CHAT),
        (FROM_OPERATOR, who(), CHAT),
    ],
)
def test_what_is_no_message_for_the_user_is_not_found(
    act: client_pb2.Change, target: StoredMessage | None, actor: Actor, place: Place
) -> None:
    assert verdict(act, actor, target, place) == "NOT_FOUND"


@pytest.mark.parametrize(
    ("act", "expected"),
    [(EDIT, ALLOWED), (RECALL, ALLOWED), (PIN, "NOT_FOUND"), (FINISH, "NOT_FOUND"), (REACTED, "NOT_FOUND")],
)
def test_the_operator_recalls_and_edits_what_the_operator_sent(act: client_pb2.Change, expected: Verdict) -> None:
    assert verdict(act, OPERATED, FROM_OPERATOR) == expected


@pytest.mark.parametrize(
    ("act", "actor", "expected"),
    [
        (EDIT, who(silenced=True), "FORBIDDEN"),
        (PIN, who(silenced=True), "FORBIDDEN"),
        (FINISH, who(silenced=True), "FORBIDDEN"),
        (RECALL, who(silenced=True), ALLOWED),
        (RECALL, who("bob", silenced=True, role=OWNER), "FORBIDDEN"),
    ],
)
def test_who_may_not_send_there_recalls_only_their_own(
    act: client_pb2.Change, actor: Actor, expected: Verdict | str
) -> None:
    assert verdict(act, actor, entries.message(), GROUP) == expected


@pytest.mark.parametrize("target", [RECALLED, EXPIRED])
@pytest.mark.parametrize(
    ("act", "actor", "expected"),
    [
        (EDIT, who(), "FORBIDDEN"),
        (PIN, who(role=OWNER), "FORBIDDEN"),
        (FINISH, who(), "FORBIDDEN"),
        (REACTED, STORAGE, "FORBIDDEN"),
        (RECALL, who(window_ms=1), NO_EFFECT),
        (RECALL, who("bob", role=OWNER), NO_EFFECT),
        (RECALL, OPERATED, NO_EFFECT),
        (RECALL, who("bob", role=MEMBER), "FORBIDDEN"),
    ],
)
def test_what_is_recalled_is_not_changed_any_more(
    act: client_pb2.Change, actor: Actor, target: StoredMessage, expected: Verdict | str
) -> None:
    assert verdict(act, actor, target, GROUP) == expected


@pytest.mark.parametrize(
    ("actor", "now_ms", "expected"),
    [
        (who(), 10**12, ALLOWED),
        (who(window_ms=MINUTE), 1000 + MINUTE, ALLOWED),
        (who(window_ms=MINUTE), 1001 + MINUTE, "FORBIDDEN"),
        (who("bob", role=OWNER), 5000, "FORBIDDEN"),
        (OPERATED, 5000, "FORBIDDEN"),
    ],
)
def test_only_the_sender_edits_and_within_the_window(actor: Actor, now_ms: int, expected: Verdict | str) -> None:
    assert verdict(EDIT, actor, entries.message(), GROUP, now_ms) == expected


@pytest.mark.parametrize(
    ("actor", "target_role", "now_ms", "expected"),
    [
        (who(window_ms=MINUTE), 0, 1000 + MINUTE, ALLOWED),
        (who(window_ms=MINUTE), 0, 1001 + MINUTE, "FORBIDDEN"),
        (who(role=MEMBER), 0, 10**12, ALLOWED),
        (who(role=ADMIN, window_ms=MINUTE), ADMIN, 10**12, ALLOWED),
        (who("bob", role=MEMBER), MEMBER, 5000, "FORBIDDEN"),
        (who("bob", role=ADMIN), MEMBER, 10**12, ALLOWED),
        (who("bob", role=ADMIN), ADMIN, 10**12, ALLOWED),
        (who("bob", role=ADMIN), 0, 10**12, ALLOWED),
        (who("bob", role=ADMIN), OWNER, 5000, "FORBIDDEN"),
        (who("bob", role=OWNER), ADMIN, 10**12, ALLOWED),
        (OPERATED, OWNER, 10**12, ALLOWED),
    ],
)
def test_who_recalls_what_in_a_group(actor: Actor, target_role: int, now_ms: int, expected: Verdict | str) -> None:
    place = Place(ConversationKind.GROUP, target_role=target_role)
    assert verdict(RECALL, actor, entries.message(), place, now_ms) == expected


def test_in_a_direct_chat_nobody_recalls_what_is_the_others() -> None:
    assert verdict(RECALL, who("bob", role=OWNER), entries.message(), CHAT) == "FORBIDDEN"
    assert verdict(RECALL, who(), entries.message(), CHAT) is ALLOWED


@pytest.mark.parametrize(
    ("actor", "place", "expected"),
    [
        (who("bob"), CHAT, ALLOWED),
        (who(role=MEMBER), GROUP, "FORBIDDEN"),
        (who("bob", role=ADMIN), GROUP, ALLOWED),
        (who("bob", role=OWNER), GROUP, ALLOWED),
        (OPERATED, GROUP, ALLOWED),
        (who("bob"), Place(ConversationKind.BROADCAST), "FORBIDDEN"),
        (who("bob"), Place(ConversationKind.DIRECT, pinned=PINS_MAX), "BAD_REQUEST"),
        (who("bob"), Place(ConversationKind.DIRECT, pinned=PINS_MAX - 1), ALLOWED),
    ],
)
def test_who_pins_where_and_how_many(actor: Actor, place: Place, expected: Verdict | str) -> None:
    assert verdict(PIN, actor, entries.message(), place) == expected


def test_a_pin_that_is_so_has_no_effect_even_where_there_is_no_room() -> None:
    full = Place(ConversationKind.DIRECT, pinned=PINS_MAX)
    assert verdict(PIN, who(), PINNED, full) is NO_EFFECT
    assert verdict(UNPIN, who(), entries.message(), full) is NO_EFFECT
    assert verdict(UNPIN, who(), PINNED, full) is ALLOWED


@pytest.mark.parametrize(
    ("actor", "target", "expected"),
    [
        (who(), entries.streaming(), ALLOWED),
        (who("bob"), entries.streaming(), "FORBIDDEN"),
        (STORAGE, entries.streaming(), ALLOWED),
        (who(), entries.message(), "BAD_REQUEST"),
        (who(), ENDED, "BAD_REQUEST"),
    ],
)
def test_a_stream_is_ended_by_its_sender_once(actor: Actor, target: StoredMessage, expected: Verdict | str) -> None:
    assert verdict(FINISH, actor, target) == expected


def test_a_stream_is_edited_only_when_it_has_ended() -> None:
    assert verdict(EDIT, who(), entries.streaming()) == "BAD_REQUEST"
    assert verdict(EDIT, who(), ENDED) is ALLOWED


def test_reactions_are_told_by_storage_alone_and_requests_are_no_entries() -> None:
    assert verdict(REACTED, STORAGE, entries.message()) is ALLOWED
    assert verdict(REACTED, who(), entries.message()) == "BAD_REQUEST"
    for act in (Change(seq=1, react="x"), Change(seq=1, unreact="x"), Change(seq=1)):
        assert verdict(act, who(), entries.message()) == "BAD_REQUEST"
