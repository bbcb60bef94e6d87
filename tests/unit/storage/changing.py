"""Changes of messages as logic hands them to storage, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.repository.records import CHANGE, StoredMessage
from tests.unit.storage.nodes import World, content_of, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import direct

Change = client_pb2.Change
CHAT = "d:ann|bob"


def edit_of(seq: int) -> client_pb2.Change:
    """The act alone: the content of an edit travels beside it."""
    return Change(seq=seq, edit=client_pb2.Content())


def recall_of(seq: int) -> client_pb2.Change:
    return Change(seq=seq, recall=Change.Recall())


def pin_of(seq: int, pin: bool = True) -> client_pb2.Change:
    return Change(seq=seq, pin=pin)


def finish_of(seq: int, parts: int = 0, text: str = "") -> client_pb2.Change:
    return Change(seq=seq, finish=Change.Finish(parts=parts, text=text))


def act(
    sender: str,
    peer: str,
    client_id: str,
    change: client_pb2.Change,
    *,
    content: bytes = b"",
    rights: pb.ActorRights | None = None,
    mentions: Sequence[str] = (),
    mention_all: bool = False,
) -> pb.StoreItem:
    """A change of a direct message."""
    return in_group(
        direct(sender, peer),
        sender,
        client_id,
        change,
        recipients=list(dict.fromkeys((sender, peer))),
        content=content,
        rights=rights,
        mentions=mentions,
        mention_all=mention_all,
    )


def in_group(
    group: str,
    sender: str,
    client_id: str,
    change: client_pb2.Change,
    *,
    version: int = 0,
    recipients: Sequence[str] = (),
    content: bytes = b"",
    rights: pb.ActorRights | None = None,
    mentions: Sequence[str] = (),
    mention_all: bool = False,
) -> pb.StoreItem:
    return pb.StoreItem(
        conversation=group,
        sender=sender,
        client_id=client_id,
        content=content,
        kind=CHANGE,
        version=version,
        recipients=recipients,
        special=common_pb2.Special(change=change.SerializeToString(), mentions=mentions, mention_all=mention_all),
        rights=rights or pb.ActorRights(),
    )


def edit(sender: str, peer: str, client_id: str, seq: int, text: str = "better", **more: object) -> pb.StoreItem:
    content = content_of(text)
    return act(sender, peer, client_id, edit_of(seq), content=content, **more)  # type: ignore[arg-type]


def recall(sender: str, peer: str, client_id: str, seq: int, **more: object) -> pb.StoreItem:
    return act(sender, peer, client_id, recall_of(seq), **more)  # type: ignore[arg-type]


def pin(sender: str, peer: str, client_id: str, seq: int, pinned: bool = True, **more: object) -> pb.StoreItem:
    return act(sender, peer, client_id, pin_of(seq, pinned), **more)  # type: ignore[arg-type]


def special(item: pb.StoreItem, **fields: object) -> pb.StoreItem:
    """The same send, with what makes it special."""
    item.special.CopyFrom(common_pb2.Special(**fields))  # type: ignore[arg-type]
    return item


async def one(node: Storage, item: pb.StoreItem) -> pb.StoreOutcome:
    [outcome] = await stored(node, item)
    return outcome


async def failed(node: Storage, item: pb.StoreItem) -> TidingsError:
    [outcome] = await node.conversations.store([item])
    assert isinstance(outcome, TidingsError)
    return outcome


def state_of(outcome: pb.StoreOutcome) -> client_pb2.State:
    return client_pb2.State.FromString(outcome.state)


def told_of(outcome: pb.StoreOutcome) -> client_pb2.Message:
    return client_pb2.Message.FromString(outcome.message)


def entry(world: World, seq: int, conversation: str = CHAT) -> StoredMessage:
    """The entry as the database has it."""
    return world.database.messages[conversation][seq]


def text_of(message: StoredMessage) -> str:
    return client_pb2.Content.FromString(message.content).text


__all__ = ["send"]
