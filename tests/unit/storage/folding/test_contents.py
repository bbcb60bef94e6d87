"""The contents that changes give."""

from __future__ import annotations

from services.storage.folding.contents import edited, in_order, is_stream, named_in, text_of, with_text
from services.storage.repository.records import EVERYBODY
from tests.unit.storage.folding.documents import content
from tidings_protocol import client_pb2


def test_an_edit_gives_all_but_what_stays_as_it_was_sent() -> None:
    before = client_pb2.Content(text="a", reply_to=7, expire_after_s=60, streaming=True, headers={"x": "y"})
    given = client_pb2.Content(data=b"b", reply_to=3, mentions=["bob"])
    after = client_pb2.Content.FromString(edited(before.SerializeToString(), given.SerializeToString()))
    assert after == client_pb2.Content(data=b"b", reply_to=7, expire_after_s=60, streaming=True, mentions=["bob"])


def test_the_text_of_a_stream_replaces_what_was_so_far() -> None:
    before = content("so", streaming=True, reply_to=3)
    assert with_text(before, "so it goes") == content("so it goes", streaming=True, reply_to=3)
    assert (text_of(before), is_stream(before), is_stream(content("x"))) == ("so", True, False)


def test_whom_a_content_names() -> None:
    assert named_in(content("x", mentions=["bob", "ann", "bob"])) == {"ann", "bob"}
    assert named_in(content("x", mention_all=True)) == {EVERYBODY}
    assert in_order(["bob", "ann", "bob"]) == ("ann", "bob")
