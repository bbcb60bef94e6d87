"""What is read from the log is what was written, through MongoDB's own encoding."""

from __future__ import annotations

import bson
from hypothesis import given
from hypothesis import strategies as st

from services.storage.repository.mongo.documents import (
    BESIDE_CONTENT_BYTES,
    entry_document,
    entry_of,
    message_document,
    message_of,
    size_of,
)
from services.storage.repository.records import MAX_NUMBER, NORMAL, SYSTEM, InboxEntry, StoredMessage
from tidings_protocol import client_pb2

USERS = st.text("abcXYZ019._-@:", min_size=1, max_size=64)
NUMBERS = st.integers(1, MAX_NUMBER)
CONVERSATIONS = st.builds("d:{}|{}".format, USERS, USERS) | st.builds("g:{}".format, USERS)
MESSAGES = st.builds(
    StoredMessage,
    CONVERSATIONS,
    NUMBERS,
    USERS,
    st.text(st.characters(codec="ascii"), max_size=64),
    NUMBERS,
    st.binary(max_size=300),
    st.sampled_from([NORMAL, SYSTEM]),
    st.binary(max_size=30),
    left_out=st.just(0),
    before=st.integers(0, MAX_NUMBER),
    act=st.just(b"") | NUMBERS.map(lambda seq: client_pb2.Change(seq=seq, pin=True).SerializeToString()),
    state=st.binary(max_size=30),
    expires_ms=st.integers(0, MAX_NUMBER),
    mentions=st.lists(USERS, max_size=5).map(tuple),
    former=st.just(b""),
    parts=st.none() | st.integers(0, MAX_NUMBER),
)


@given(MESSAGES)
def test_a_message_is_read_as_it_was_written(message: StoredMessage) -> None:
    encoded = bson.encode(message_document(message))
    assert message_of(bson.decode(encoded)) == message
    assert len(encoded) <= size_of(message)


@given(st.builds(InboxEntry, USERS, NUMBERS, CONVERSATIONS, NUMBERS, NUMBERS))
def test_an_entry_is_read_as_it_was_written(entry: InboxEntry) -> None:
    encoded = bson.encode(entry_document(entry))
    assert entry_of(bson.decode(encoded)) == entry
    assert len(encoded) <= BESIDE_CONTENT_BYTES
