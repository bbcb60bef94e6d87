"""What CHANGEs make of their target, and what those before lose by it."""

from __future__ import annotations

from services.storage.folding.fold import (
    erasure_of,
    fold_of,
    folded,
    mentioned_in,
    pinned_after,
)
from services.storage.folding.shown import act_in, folded_state, state_of
from services.storage.repository.records import EVERYBODY, Erasure, Fold, StoredMessage
from tests.unit.storage.folding.documents import (
    CHAT,
    Change,
    change,
    content,
    edit,
    finish,
    message,
    pin,
    reacted,
    recall,
    streaming,
)
from tidings_protocol import client_pb2

THUMB = client_pb2.Reaction(reaction="+1", count=2, users=["bob", "cid"])
STAR = client_pb2.Reaction(reaction="*", count=1, users=["bob"])


def fold_all(target: StoredMessage, *changes: StoredMessage) -> StoredMessage:
    for each in changes:
        target = folded(target, each)
    return target


def state(target: StoredMessage) -> client_pb2.State:
    found = state_of(target, 0)
    assert found is not None
    return found


def test_an_edit_gives_content_and_a_time() -> None:
    after = folded(message(), edit(5))
    assert after.content == content("better")
    assert state(after) == client_pb2.State(revision=5, edited_ms=2000)
    assert folded_state(after).content_seq == 5


def test_what_is_in_already_changes_nothing() -> None:
    after = fold_all(message(), edit(5), pin(6))
    assert fold_all(after, edit(5), pin(6, pinned=False)) is after


def test_pins_and_reactions_leave_the_content() -> None:
    after = fold_all(message(), pin(2), reacted(3, THUMB), reacted(4, STAR))
    assert after.content == content()
    assert state(after) == client_pb2.State(revision=4, pinned=True, reactions=[STAR])
    assert state(folded(after, pin(5, pinned=False))) == client_pb2.State(revision=5, reactions=[STAR])


def test_a_recall_leaves_who_recalled_it_and_nothing_else() -> None:
    mentioning = message()._replace(mentions=("bob",))
    after = fold_all(mentioning, edit(2), pin(3), reacted(4, THUMB), recall(5, sender="bob"))
    assert (after.content, after.mentions) == (b"", ())
    assert state(after) == client_pb2.State(revision=5, recalled_by="bob")
    assert state(folded(after, edit(6))) == client_pb2.State(revision=6, recalled_by="bob")
    assert folded(after, edit(6)).content == b""


def test_the_end_of_a_stream_gives_its_text_and_parts() -> None:
    after = fold_all(streaming(parts=2, text="so far"), finish(2, "all of it", 7))
    assert after.content == content("all of it", streaming=True)
    assert after.parts is None
    assert state(after) == client_pb2.State(revision=2, parts=7)


def test_a_stream_shows_its_parts_while_it_goes_on() -> None:
    assert state(streaming(parts=4)) == client_pb2.State(streaming=True, parts=4)
    assert state(folded(streaming(parts=4), pin(2))) == client_pb2.State(
        revision=2, streaming=True, parts=4, pinned=True
    )


def test_an_act_of_a_later_version_is_a_revision() -> None:
    after = folded(message(), change(2, Change(seq=1)))
    assert (after.content, state(after)) == (content(), client_pb2.State(revision=2))


def test_an_edit_takes_away_whom_it_does_not_name_and_keeps_the_others_where_they_were() -> None:
    target = message()._replace(mentions=("bob", "cid"))
    first = folded(target, edit(2, mentions=("dan",)))
    assert (first.mentions, mentioned_in(first)) == ((), ("dan",))
    named = change(3, Change(seq=1, edit=client_pb2.Content()), given=content("x", mentions=["bob", "eve", "dan"]))
    both = folded(target, named._replace(mentions=("eve",)))
    assert (both.mentions, mentioned_in(both)) == (("bob",), ("bob", "eve"))


def test_all_may_be_mentioned() -> None:
    target = message()._replace(mentions=(EVERYBODY,))
    kept = change(2, Change(seq=1, edit=client_pb2.Content()), given=content("x", mention_all=True))
    assert mentioned_in(folded(target, kept)) == (EVERYBODY,)
    assert mentioned_in(folded(target, edit(2))) == ()


def test_what_is_pinned_comes_first_and_leaves_with_its_message() -> None:
    pinned = pinned_after(pinned_after((), pin(2, target=1)), pin(3, target=9))
    assert pinned == (9, 1)
    assert pinned_after(pinned, pin(4, target=1)) == (1, 9)
    assert pinned_after(pinned, pin(4, target=9, pinned=False)) == (1,)
    assert pinned_after(pinned, recall(4, target=1)) == (9,)
    assert pinned_after(pinned, edit(4, target=1)) == pinned


def test_only_what_changed_is_written() -> None:
    before = message()
    pinned, edited = folded(before, pin(2)), folded(before, edit(2, mentions=("bob",)))
    assert fold_of(before, pinned) == Fold(CHAT, 1, 2, pinned.state)
    assert fold_of(before, edited) == Fold(CHAT, 1, 2, edited.state, content("better", mentions=["bob"]))
    stream = streaming()
    assert fold_of(stream, folded(stream, finish(2, "x", 0))).ends
    assert fold_of(stream, folded(stream, recall(2))).ends
    assert not fold_of(stream, folded(stream, pin(2))).ends


def test_what_changes_lose() -> None:
    assert erasure_of(folded(message(), pin(2)), None, keeps_history=False) is None
    edited = fold_all(message(), edit(2, mentions=("bob",)), pin(3))
    assert erasure_of(edited, None, keeps_history=False) == Erasure(CHAT, 1, 2, contents=True, mentions=("bob",))
    assert erasure_of(edited, None, keeps_history=True) == Erasure(CHAT, 1, 2, contents=False, mentions=("bob",))
    recalled = folded(edited, recall(4))
    assert erasure_of(recalled, edited, keeps_history=True) == Erasure(CHAT, 1, 5, contents=True, everything=True)


def test_where_it_is_known_what_is_erased_only_what_came_since_is_looked_at() -> None:
    once = folded(message(), edit(2, mentions=("bob",)))
    assert erasure_of(folded(once, pin(3)), once, keeps_history=False) is None
    kept = folded(once, edit(3, mentions=("bob",)))
    assert erasure_of(kept, once, keeps_history=False) == Erasure(CHAT, 1, 3, contents=True, mentions=("bob",), since=2)
    taken = folded(once, edit(3))
    assert erasure_of(taken, once, keeps_history=False) == Erasure(CHAT, 1, 3, contents=True)


def test_the_act_of_a_change_is_read_as_it_was_stored() -> None:
    assert act_in(pin(2, target=7).act) == Change(seq=7, pin=True)
