"""An entry as it is shown now: with its present content, and what changes made of it.

    a message    its present content, unless it is recalled or its time is over; its state
    a CHANGE     what it does, and the state of its target; the content that it gave (an edit, a finish) only if that
                 is the present one and asked for

Guarantees: pure. What is recalled or expired is shown without content, whatever still lies in the database. What cannot
be read is left out: an entry is shown with its place in any case.
Does not know: who reads, who has hidden what.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.records import CHANGE, MessageKey, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.content import OWN_PREFIX
from tidings_protocol.ids import message_id
from tidings_protocol.wire.body import message_bytes

M = TypeVar("M", bound=Message)

# By whom something is recalled whose time is over; no user is called so.
EXPIRY = "~expiry"


def is_expired(message: StoredMessage, now_ms: int) -> bool:
    return 0 < message.expires_ms <= now_ms


def is_special(message: StoredMessage) -> bool:
    """Whether more is to be shown of it than what was sent."""
    return message.kind == CHANGE or bool(message.state or message.expires_ms)


def state_of(message: StoredMessage, now_ms: int) -> client_pb2.State | None:
    """What changes, parts of a stream, and the time have made of a message; None: nothing."""
    state = folded_state(message).state if message.state else None
    if state is not None and state.streaming and message.parts:
        state.parts = message.parts
    if is_expired(message, now_ms) and not (state and state.recalled_by):
        return client_pb2.State(revision=state.revision if state else 0, recalled_by=EXPIRY)
    return state


def folded_state(message: StoredMessage) -> storage_pb2.FoldedState:
    """What later changes made of an entry, as it lies in its document; empty: nothing."""
    return _read(storage_pb2.FoldedState, message.state) or storage_pb2.FoldedState()


def act_in(act: bytes) -> client_pb2.Change:
    """What a CHANGE does; nothing to any entry (seq 0), if it cannot be read."""
    return _read(client_pb2.Change, act) or client_pb2.Change()


def target_of(message: StoredMessage) -> int:
    """The seq of the entry that a CHANGE changes; 0: it is no CHANGE, or cannot be read."""
    return act_in(message.act).seq if message.kind == CHANGE else 0


def target_key(message: StoredMessage) -> MessageKey | None:
    """The entry that a CHANGE changes; None: it is no CHANGE."""
    return (message.conversation, target_of(message)) if message.kind == CHANGE else None


def targets_of(messages: Iterable[StoredMessage]) -> set[MessageKey]:
    """What the CHANGEs among these change."""
    return {key for each in messages if (key := target_key(each)) is not None}


def shown(
    message: StoredMessage, now_ms: int, *, target: StoredMessage | None = None, with_content: bool = True
) -> bytes:
    """An encoded tidings.v1.Message. `target`: of a CHANGE, what it changes, None if that is gone; `with_content`:
    whether an edit or a finish brings its content along, which it need not where its target is shown too.
    """
    if not is_special(message):
        return message_bytes(
            conversation=message.conversation,
            seq=message.seq,
            message_id=message_id(message.conversation, message.seq),
            sender=message.sender,
            time_ms=message.time_ms,
            content=message.content,
            kind=message.kind,
            client_id=message.client_id,
            ordinal=message.ordinal,
        )
    entry = client_pb2.Message(
        message_id=message_id(message.conversation, message.seq),
        conversation=message.conversation,
        seq=message.seq,
        sender=message.sender,
        time_ms=message.time_ms,
        kind=client_pb2.Message.Kind.ValueType(message.kind),
        client_id="" if message.client_id.startswith(OWN_PREFIX) else message.client_id,
        ordinal=message.ordinal,
        expires_ms=message.expires_ms,
    )
    if message.kind == CHANGE:
        _show_change(entry, message, now_ms, target, with_content=with_content)
        return entry.SerializeToString()
    state = state_of(message, now_ms)
    if state is not None:
        entry.state.CopyFrom(state)
    if state is None or not state.recalled_by:
        _copy(_read(client_pb2.Content, message.content), entry.content)
    return entry.SerializeToString()


def stub(conversation: str, seq: int) -> bytes:
    """An encoded tidings.v1.Message of what this reader has hidden."""
    return client_pb2.Message(conversation=conversation, seq=seq).SerializeToString()


def _show_change(
    entry: client_pb2.Message,
    message: StoredMessage,
    now_ms: int,
    target: StoredMessage | None,
    *,
    with_content: bool,
) -> None:
    _copy(_read(client_pb2.Change, message.act), entry.change)
    state = None if target is None else state_of(target, now_ms)
    if state is not None:
        entry.state.CopyFrom(state)
    is_newest = target is not None and folded_state(target).content_seq == message.seq
    has_content = with_content and is_newest and not (state and state.recalled_by)
    match entry.change.WhichOneof("act"):
        case "edit" if has_content:
            _copy(_read(client_pb2.Content, message.content), entry.change.edit)
        case "finish" if not has_content:
            entry.change.finish.ClearField("text")
        case "finish" if message.content:
            content = _read(client_pb2.Content, message.content)
            entry.change.finish.text = content.text if content else ""


def _read(kind: type[M], encoded: bytes) -> M | None:
    """What is stored, as far as this version knows it; None if it cannot be read."""
    try:
        read = kind.FromString(encoded)
    except DecodeError:
        return None
    read.DiscardUnknownFields()
    return read


def _copy(found: M | None, into: M) -> None:
    if found is not None:
        into.CopyFrom(found)
