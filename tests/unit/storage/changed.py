"""A log in which messages were changed, as it lies in the twin: written there by hand, whoever may fold by now."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import storage_pb2
from services.storage.node import Storage
from services.storage.repository.records import CHANGE, StoredMessage
from tests.unit.storage.nodes import World, content_of
from tidings_protocol import client_pb2

CHAT = "d:ann|bob"
EVERYWHERE = frozenset(range(4096))


def said(
    seq: int, text: str = "hello", *, sender: str = "ann", conversation: str = CHAT, **fields: Any
) -> StoredMessage:
    """A message."""
    return StoredMessage(conversation, seq, sender, f"c{seq}", 1000 + seq, content_of(text), **fields)


def edited(
    seq: int, target: int, text: str = "", *, sender: str = "ann", conversation: str = CHAT, **fields: Any
) -> StoredMessage:
    """The CHANGE of an edit; without a text it has no content any more."""
    act = client_pb2.Change(seq=target, edit=client_pb2.Content()).SerializeToString()
    content = content_of(text) if text else b""
    return StoredMessage(conversation, seq, sender, f"c{seq}", 1000 + seq, content, CHANGE, act=act, **fields)


def acted(
    seq: int, target: int, *, sender: str = "bob", conversation: str = CHAT, before: int = 0, **act: Any
) -> StoredMessage:
    """Another CHANGE."""
    change = client_pb2.Change(seq=target, **act).SerializeToString()
    return StoredMessage(conversation, seq, sender, f"c{seq}", 1000 + seq, b"", CHANGE, before=before, act=change)


def state(content_seq: int = 0, **fields: Any) -> bytes:
    """What changes made of a message."""
    folded = storage_pb2.FoldedState(state=client_pb2.State(**fields), content_seq=content_seq)
    return folded.SerializeToString()


async def put(world: World, node: Storage, *entries: StoredMessage) -> None:
    """Writes these behind what is there; the node reads the conversation anew, and settles what follows from them."""
    await node.behind.flush()
    inserted = await world.database.repository().messages.insert(entries)
    assert inserted.done == len(entries)
    node.conversations.memory.drop_slots(EVERYWHERE)


async def hide(
    node: Storage, user: str, *seqs: int, through: int = 0, conversation: str = CHAT
) -> storage_pb2.HideOutcome:
    (outcome,) = await node.hides.hide(
        [storage_pb2.HideItem(conversation=conversation, user=user, seqs=seqs, through=through)]
    )
    return outcome


def read(encoded: bytes) -> client_pb2.Message:
    return client_pb2.Message.FromString(encoded)
