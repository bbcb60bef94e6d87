"""What a client may put into a message or a signal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tidings_protocol import client_pb2, ids
from tidings_protocol.content import (
    CLIENT_ID_BYTES_MAX,
    check_client_id,
    check_content,
    check_signal,
    encode_content,
    is_body_alone,
    notice_client_id,
)
from tidings_protocol.errors import BadRequest, TooLarge
from tidings_protocol.ids import new_id

Content, Media = client_pb2.Content, client_pb2.Media


@pytest.mark.parametrize("content", [Content(), Content(text=""), Content(data=b""), Content(mime="text/plain")])
def test_content_without_text_or_data_is_refused(content: client_pb2.Content) -> None:
    with pytest.raises(BadRequest, match="empty"):
        check_content(content, 100)


@pytest.mark.parametrize("content", [Content(text="é" * 50), Content(data=bytes(100))])
def test_content_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(content: client_pb2.Content) -> None:
    check_content(content, 100)
    with pytest.raises(TooLarge, match="100 bytes, 99"):
        check_content(content, 99)


def test_sixteen_headers_of_four_kib_together_are_accepted() -> None:
    headers = {f"header-{number:02}": "x" * (256 - 9) for number in range(16)}
    check_content(Content(text="a", headers=headers), 100)


def test_a_seventeenth_header_is_too_large() -> None:
    with pytest.raises(TooLarge, match="17 headers"):
        check_content(Content(text="a", headers={str(number): "" for number in range(17)}), 100)


def test_headers_of_more_than_four_kib_together_are_too_large() -> None:
    with pytest.raises(TooLarge, match="4097 bytes"):
        check_content(Content(text="a", headers={"a": "x" * 4096}), 100)


def test_a_mime_of_more_than_255_bytes_is_too_large() -> None:
    check_content(Content(data=b"a", mime="x" * 255), 100)
    with pytest.raises(TooLarge, match="mime"):
        check_content(Content(data=b"a", mime="x" * 256), 100)


@pytest.mark.parametrize(
    "content",
    [
        Content(media=[Media(id="m")]),
        Content(text="look", media=[Media(id=str(number), thumbnail="t") for number in range(10)]),
        Content(text="", streaming=True),
        Content(streaming=True),
        Content(text="hi", mentions=[f"user{number}" for number in range(50)], mention_all=True),
        Content(text="hi", expire_after_s=365 * 86_400),
        Content(text="a", media=[Media(id="m", name="n" * 255, mime="x" * 255, preview=bytes(200))]),
    ],
)
def test_a_content_may_have_more_than_its_text(content: client_pb2.Content) -> None:
    check_content(content, 100)
    assert Content.FromString(encode_content(content, 100)) == content


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (Content(text="hi", mentions=["bob"] * 51), "51 users"),
        (Content(text="hi", mentions=["b b"]), "not a user id"),
        (Content(text="hi", mentions=["tidings"]), "operator's name"),
        (Content(text="hi", expire_after_s=365 * 86_400 + 1), "a year"),
        (Content(data=b"hi", streaming=True), "grows as text"),
        (Content(data=b"hi", media=[Media(id="m")]), "with a text or alone"),
        (Content(media=[Media(id="m")] * 11), "11 media"),
        (Content(media=[Media()]), "without an id"),
        (Content(media=[Media(id="x" * 129)]), "too long to be one"),
        (Content(media=[Media(id="m", thumbnail="x" * 129)]), "too long to be one"),
    ],
)
def test_what_else_a_content_has_is_checked(content: client_pb2.Content, refusal: str) -> None:
    for check in (check_content, encode_content):
        with pytest.raises(BadRequest, match=refusal):
            check(content, 100)


@pytest.mark.parametrize(
    "media", [Media(id="m", name="é" * 128), Media(id="m", mime="x" * 256), Media(id="m", preview=bytes(201))]
)
def test_what_is_said_of_media_is_short(media: client_pb2.Media) -> None:
    with pytest.raises(TooLarge):
        encode_content(Content(text="hi", media=[media]), 100)


def test_the_largest_content_that_there_may_be_is_encoded() -> None:
    content = Content(
        text="x" * 100,
        mime="m" * 255,
        headers={f"header-{number:02}": "x" * (256 - 9) for number in range(16)},
        mentions=["u" * 64] * 50,
        media=[
            Media(
                id="i" * 128,
                mime="m" * 255,
                name="n" * 255,
                bytes=2**64 - 1,
                width=2**32 - 1,
                height=2**32 - 1,
                duration_ms=2**32 - 1,
                thumbnail="t" * 128,
                preview=bytes(200),
            )
        ]
        * 10,
    )
    assert Content.FromString(encode_content(content, 100)) == content


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384])
def test_a_body_alone_is_told_from_one_with_something_beside_it(size: int) -> None:
    for alone in (Content(text="x" * size), Content(data=bytes(size))):
        assert is_body_alone(alone.SerializeToString())
        for more in (Content(mentions=["bob"]), Content(mention_all=True), Content(streaming=True), Content(mime="m")):
            both = Content()
            both.CopyFrom(alone)
            both.MergeFrom(more)
            assert not is_body_alone(both.SerializeToString())
    assert not is_body_alone(b"")


@pytest.mark.parametrize("client_id", ["a", "x" * 64, "é" * 32])
def test_a_client_id_has_up_to_64_bytes(client_id: str) -> None:
    check_client_id(client_id)


@pytest.mark.parametrize("client_id", ["", "x" * 65, "é" * 33])
def test_a_client_id_that_is_empty_or_longer_is_refused(client_id: str) -> None:
    with pytest.raises(BadRequest, match="1 to 64"):
        check_client_id(client_id)


def test_no_message_of_a_client_can_take_the_place_of_a_notice() -> None:
    """The longest op that there is: a session's id and the number of a request."""
    for index in (0, 1):
        client_id = notice_client_id(f"{new_id()}.{2**32}", index)
        assert len(client_id) <= CLIENT_ID_BYTES_MAX
        with pytest.raises(BadRequest, match="must not begin"):
            check_client_id(client_id)


def test_signal_data_has_up_to_one_kib() -> None:
    check_signal("typing", bytes(1024))
    with pytest.raises(TooLarge, match="1025"):
        check_signal("typing", bytes(1025))


def test_a_signals_name_is_short() -> None:
    check_signal("x" * 64, b"")
    with pytest.raises(BadRequest, match="name"):
        check_signal("x" * 65, b"")


@pytest.mark.parametrize(
    "refused",
    [
        lambda: check_client_id(""),
        lambda: check_client_id("~op 1"),
        lambda: check_content(client_pb2.Content(), 10),
        lambda: check_content(client_pb2.Content(text="x" * 11), 10),
        lambda: check_content(client_pb2.Content(text="x", mime="m" * 256), 10),
        lambda: check_content(client_pb2.Content(text="x", headers={str(n): "" for n in range(17)}), 10),
        lambda: check_content(client_pb2.Content(text="x", headers={"a": "b" * 4097}), 10),
        lambda: check_content(client_pb2.Content(text="x", mentions=["bob"] * 51), 10),
        lambda: check_content(client_pb2.Content(text="x", expire_after_s=2**32 - 1), 10),
        lambda: check_content(client_pb2.Content(media=[client_pb2.Media()]), 10),
        lambda: check_content(client_pb2.Content(media=[client_pb2.Media(id="m")] * 11), 10),
        lambda: check_content(client_pb2.Content(media=[client_pb2.Media(id="m", preview=bytes(201))]), 10),
        lambda: check_content(client_pb2.Content(data=b"x", media=[client_pb2.Media(id="m")]), 10),
        lambda: check_content(client_pb2.Content(data=b"x", streaming=True), 10),
        lambda: check_signal("typing", b"x" * 1025),
        lambda: check_signal("n" * 65, b""),
        lambda: ids.check_user("b b"),
        lambda: ids.check_user("tidings"),
        lambda: ids.peers("g:1"),
        lambda: ids.kind_of("x:1"),
        lambda: ids.check_conversation("d:bob|ann"),
        lambda: ids.check_conversation("d:ann|tidings"),
        lambda: ids.check_conversation("nowhere"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_behind_a_colon_what_to_do(refused: Callable[[], object]) -> None:
    with pytest.raises((BadRequest, TooLarge)) as refusal:
        refused()
    wrong, _, to_do = refusal.value.message.partition(": ")
    assert wrong
    assert to_do.split()[0] in {"give", "make", "send", "leave", "put", "use", "name", "keep"}
