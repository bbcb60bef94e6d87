"""From what logic said to what a connection gets: what is known of an answer, and what a defect does."""

from __future__ import annotations

from services.access.requests.answers import Answer, answer_or_end, encode_answer
from services.access.session.session import Phase
from tests.unit.access.fakes import open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import Internal
from tidings_protocol.wire.codec import JSON

Frame = client_pb2.ServerFrame


def test_an_answer_has_the_id_of_its_request() -> None:
    client = open_client()
    answer = encode_answer(client.connection, 9, "history", Frame(page=client_pb2.Page(head=3)).SerializeToString())
    assert isinstance(answer, Answer)
    frame = Frame.FromString(answer.frame)
    assert (frame.id, frame.page.head) == (9, 3)
    assert (answer.error_code, answer.presence, answer.unpauses) == ("", None, None)


def test_a_refusal_of_logic_is_known_by_its_code() -> None:
    error = Frame(error=client_pb2.Error(code="FORBIDDEN")).SerializeToString()
    answer = encode_answer(open_client().connection, 9, "group", error)
    assert isinstance(answer, Answer)
    assert (answer.error_code, answer.counts) == ("FORBIDDEN", True)


def test_a_refusal_that_says_when_to_ask_again_does_not_count_against_the_client() -> None:
    error = Frame(error=client_pb2.Error(code="FORBIDDEN", retry_after_ms=300)).SerializeToString()
    answer = encode_answer(open_client().connection, 9, "group", error)
    assert isinstance(answer, Answer)
    assert (answer.error_code, answer.counts) == ("FORBIDDEN", False)


def test_presence_is_kept_for_the_watchers() -> None:
    online = client_pb2.PresenceList(users=[client_pb2.Presence(user="bob", online=True)])
    frame = Frame(presence_list=online).SerializeToString()
    answer = encode_answer(open_client().connection, 9, "presence", frame, ["cid"])
    assert isinstance(answer, Answer)
    assert (answer.presence, answer.hiding) == (online, ["cid"])


def test_a_page_is_kept_for_a_connection_that_is_paused_and_for_no_other() -> None:
    client = open_client()
    page = Frame(page=client_pb2.Page(head=3, more=True)).SerializeToString()
    client.connection.block()
    paused = encode_answer(client.connection, 9, "sync", page)
    assert isinstance(paused, Answer)
    assert paused.unpauses == client_pb2.Page(head=3, more=True)
    live = encode_answer(open_client().connection, 9, "sync", page)
    assert isinstance(live, Answer)
    assert live.unpauses is None


def test_what_cannot_be_read_is_an_error_of_the_request_that_says_whom_to_ask() -> None:
    answer = encode_answer(open_client(codec=JSON).connection, 9, "sync", b"\x0a\xff\xff")
    assert isinstance(answer, Internal)
    assert "operator" in answer.message


def test_a_defect_in_answering_ends_the_connection() -> None:
    def fail(_: object) -> None:
        raise KeyError("a defect")

    client = open_client()
    answer_or_end(client.connection, fail, None)
    assert client.goodbye is not None
    assert client.goodbye.code == 4005
    assert client.connection.session.phase is Phase.CLOSING


def test_a_defect_on_a_connection_that_cannot_even_be_told_cuts_it() -> None:
    def fail(_: object) -> None:
        raise KeyError("a defect")

    client = open_client()
    client.wire.fails = True
    answer_or_end(client.connection, fail, None)
    assert client.wire.aborted


def test_a_refusal_that_may_be_over_later_is_known_as_such() -> None:
    for retry_after_ms in (0, 5):
        error = client_pb2.Error(code="FORBIDDEN", retry_after_ms=retry_after_ms)
        answer = encode_answer(open_client().connection, 9, "group", Frame(error=error).SerializeToString())
        assert isinstance(answer, Answer)
        assert answer.counts is (retry_after_ms == 0)
