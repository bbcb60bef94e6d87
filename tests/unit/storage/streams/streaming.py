"""Streams as logic hands them to storage, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from tests.unit.storage.nodes import send
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

CHAT = "d:ann|bob"


def stream(sender: str, peer: str, client_id: str, text: str = "", *, expire_after_s: int = 0) -> pb.StoreItem:
    """A message whose text is to grow."""
    item = send(sender, peer, client_id)
    content = client_pb2.Content(text=text, streaming=True, expire_after_s=expire_after_s)
    item.content = content.SerializeToString()
    item.special.CopyFrom(common_pb2.Special(streaming=True, expire_after_s=expire_after_s))
    return item


async def take(
    node: Storage, *parts: tuple[int, str], seq: int = 1, sender: str = "ann", conversation: str = CHAT, most: int = 100
) -> list[tuple[str, int]]:
    """What became of each (part, text): "" if it was taken, "had", or its error's code and the part that is wanted."""
    items = [
        pb.PartItem(conversation=conversation, seq=seq, sender=sender, part=part, text=text) for part, text in parts
    ]
    outcomes = await node.parts.take(items, most)
    return [
        (each.code, each.next_part) if isinstance(each, TidingsError) else ("had" if each.had else "", 0)
        for each in outcomes
    ]


@dataclass
class Told:
    """A Teller that remembers."""

    items: list[logic_pb2.TellItem] = field(default_factory=list)

    def tell(self, items: Sequence[logic_pb2.TellItem]) -> None:
        self.items += items
