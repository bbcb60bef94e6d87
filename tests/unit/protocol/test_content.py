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
    notice_client_id,
)
from tidings_protocol.errors import BadRequest, TooLarge
from tidings_protocol.ids import new_id

Content = client_pb2.Content


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
