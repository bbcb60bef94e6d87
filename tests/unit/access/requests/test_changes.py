"""Changes as they go on to logic."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1.common_pb2 import Special
from services.access.requests.changes import row_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest

Change, Content = client_pb2.Change, client_pb2.Content


def test_the_content_of_an_edit_stands_beside_it_with_what_is_special_about_it() -> None:
    change = Change(client_id="c", seq=7, edit=Content(text="ho", mention_all=True, streaming=True, expire_after_s=4))
    row = row_of(change, 100)
    assert Content.FromString(row.content) == Content(text="ho", mention_all=True)
    act = Change(seq=7, edit=Content()).SerializeToString()
    assert row.special == Special(change=act, mention_all=True)


def test_any_other_change_has_no_content() -> None:
    row = row_of(Change(client_id="c", conversation="g:x", seq=7, pin=False), 100)
    assert row.content == b""
    assert Change.FromString(row.special.change) == Change(seq=7, pin=False)


def test_a_change_that_is_wrong_is_refused() -> None:
    with pytest.raises(BadRequest):
        row_of(Change(client_id="c", pin=True), 100)
