"""How the entries of a page are shown to one who reads it."""

from __future__ import annotations

from services.storage.folding.shown import targets_of
from services.storage.pages.showing import Showing, is_hidden, key_of
from services.storage.repository.records import NOTHING_HIDDEN, HiddenSeqs
from tests.unit.storage.changed import CHAT, acted, edited, read, said, state
from tidings_protocol import client_pb2

TARGET = said(1, "new", state=state(5, revision=5))
EDIT = edited(5, 1, "new")


def test_the_content_of_an_edit_is_left_out_where_its_target_is_on_the_page() -> None:
    item = Showing(0, {(CHAT, 1): TARGET}, ()).item(EDIT)
    assert item.target == (CHAT, 1)
    assert read(item.on({(CHAT, 2)})).change.edit.text == "new"
    with_target = read(item.on({(CHAT, 1)}))
    assert (with_target.change.edit.text, with_target.state.revision) == ("", 5)
    assert item.size == len(item.encoded) > len(item.brief)


def test_of_a_stub_only_the_place_is_told() -> None:
    showing = Showing(0, {(CHAT, 1): TARGET}, {(CHAT, 5), (CHAT, 2)})
    for seq, entry in ((5, EDIT), (2, said(2))):
        assert read(showing.item(entry).on({(CHAT, 1)})) == client_pb2.Message(conversation=CHAT, seq=seq)


def test_content_that_was_not_read_counts() -> None:
    item = Showing(0, {}, ()).item(said(1)._replace(content=b"", left_out=1000))
    assert item.size > 1000


def test_a_change_is_hidden_with_its_target_and_a_message_by_itself() -> None:
    hidden = HiddenSeqs(2, frozenset({7}))
    entries = [said(2), said(3), said(7), edited(4, 2), edited(8, 3), acted(9, 7, pin=True)]
    assert [is_hidden(each, hidden) for each in entries] == [True, False, True, True, False, True]
    assert not any(is_hidden(each, NOTHING_HIDDEN) for each in entries)


def test_what_changes_change_is_found() -> None:
    assert targets_of([said(1), EDIT, acted(9, 7, pin=True)]) == {(CHAT, 1), (CHAT, 7)}
    assert key_of(EDIT) == (CHAT, 5)
