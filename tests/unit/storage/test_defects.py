"""A message that the database's driver cannot take is one message's trouble, in its batch and in its conversation."""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.repository.contract import Inserted
from services.storage.repository.records import StoredMessage
from tests.unit.storage.nodes import World, content_of, send
from tidings_protocol.errors import Internal, TidingsError

BAD = content_of("bad")


async def test_a_message_that_cannot_be_written_is_refused_alone_and_leaves_no_hole() -> None:
    async with World().node() as node:
        messages = node.conversations._repository.messages
        insert = messages.insert

        async def choosy(documents: Sequence[StoredMessage]) -> Inserted:
            if any(document.content == BAD for document in documents):
                raise OverflowError("BSON can only handle up to 8-byte ints")
            return await insert(documents)

        messages.insert = choosy  # type: ignore[method-assign,assignment]
        texts = ["1", "bad", "2", "3"]
        items = [
            *(send("ann", "bob", text, text) for text in texts),
            send("cid", "dan", "x", "x"),
            *(send("ann", "bob", text, text) for text in ("4", "5")),
            send("eve", "bob", "y", "y"),
        ]
        outcomes = await node.conversations.store(items)
        shown = [each.code if isinstance(each, TidingsError) else each.seq for each in outcomes]
        assert shown == [1, Internal.code, 2, 3, 1, 4, 5, 1]
        assert all(each.status == pb.StoreOutcome.STORED for each in outcomes if not isinstance(each, TidingsError))
        again = await node.conversations.store([items[0], items[4]])
        assert [(each.status, each.seq) for each in again if not isinstance(each, TidingsError)] == [
            (pb.StoreOutcome.DUPLICATE, 1)
        ] * 2
        page = (await node.pages.inbox([pb.InboxItem(user="bob")]))[0]
        assert [entry.number for entry in page.entries] == list(range(1, 7))
