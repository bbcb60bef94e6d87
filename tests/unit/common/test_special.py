"""What is not plain about a content."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1.common_pb2 import Special
from services.common.special import note_content, special_of
from tidings_protocol.client_pb2 import Content, Media


@pytest.mark.parametrize(
    "content", [Content(text="hi"), Content(data=b"x", mime="m"), Content(text="hi", headers={"a": "b"}, reply_to=3)]
)
def test_of_a_plain_content_nothing_is_said(content: Content) -> None:
    assert special_of(content) is None


@pytest.mark.parametrize(
    ("content", "special"),
    [
        (Content(mentions=["bob", "amy"]), Special(mentions=["bob", "amy"])),
        (Content(mention_all=True), Special(mention_all=True)),
        (Content(expire_after_s=5), Special(expire_after_s=5)),
        (Content(streaming=True), Special(streaming=True)),
        (Content(media=[Media(id="a", thumbnail="t"), Media(id="b")]), Special(media=["a", "t", "b"])),
    ],
)
def test_what_is_not_plain_is_said(content: Content, special: Special) -> None:
    assert special_of(content) == special


def test_what_was_said_of_another_content_is_replaced() -> None:
    special = Special(change=b"c", mentions=["bob"], mention_all=True, streaming=True, expire_after_s=3, media=["m"])
    note_content(special, Content(mentions=["amy"]))
    assert special == Special(change=b"c", mentions=["amy"])
