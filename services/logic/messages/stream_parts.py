"""Parts of streams: pieces of a message whose text grows while its readers watch.

    permit ──▶ storage, whose owner of the conversation says which part is wanted ──▶ push to the members

Guarantees: an outcome for each; a part that storage took is pushed to all members but the connection that it came from,
after those before it on their way to each node; none goes to who blocks its sender. Nothing else is promised: nobody
waits for Kafka, and what cannot be told at once is dropped. A part that storage had before is told to nobody.

Does not know: the text so far, when it is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2, storage_pb2
from services.common.clock import Clock
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.permissions import check_stream
from services.logic.groups.recipients import fanout_of
from services.logic.people.blocks import Blocks
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.content import check_part
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import check_conversation

StreamPartItem = logic_pb2.StreamPartItem


class StreamParts:
    """Takes parts, and tells those that they are for."""

    def __init__(
        self,
        loader: GroupLoader,
        storage: StorageClient,
        publisher: Publisher,
        blocks: Blocks,
        clock: Clock,
        *,
        content_bytes_max: int,
    ) -> None:
        """`content_bytes_max`: of the whole text of a stream."""
        self._loader = loader
        self._storage = storage
        self._publisher = publisher
        self._blocks = blocks
        self._clock = clock
        self._content_bytes_max = content_bytes_max

    async def take(self, items: Sequence[StreamPartItem]) -> list[TidingsError | None]:
        """The error of each part; None: it is there. Returns before anybody has it."""
        outcomes: list[TidingsError | None] = [self._shape_error(item) for item in items]
        # As the groups are now: there is no store after this that would find the decision stale.
        groups = await self._loader.load_for(
            (item.conversation, item.sender) for item, error in zip(items, outcomes, strict=True) if error is None
        )
        now_ms = self._clock.wall_ms()
        for index, item in enumerate(items):
            outcomes[index] = outcomes[index] or _refusal(item, groups, now_ms)
        await self._blocks.refuse([(item.conversation, item.sender) for item in items], outcomes)
        allowed = [index for index, error in enumerate(outcomes) if error is None]
        if not allowed:
            return outcomes
        taken = await self._storage.stream_parts(
            [_part_item(items[index]) for index in allowed], self._content_bytes_max
        )
        outgoing: list[OutgoingPush] = []
        for index, outcome in zip(allowed, taken, strict=True):
            if isinstance(outcome, TidingsError):
                outcomes[index] = outcome
            elif not outcome.had:
                outgoing.append(_outgoing(items[index], groups))
        if outgoing:
            self._publisher.offer(Publication(outgoing))
        return outcomes

    def _shape_error(self, item: StreamPartItem) -> TidingsError | None:
        try:
            check_conversation(item.conversation)
            check_part(client_pb2.StreamPart(seq=item.seq, part=item.part, text=item.text), self._content_bytes_max)
        except TidingsError as error:
            return error
        return None


def _refusal(item: StreamPartItem, groups: FoundGroups, now_ms: int) -> TidingsError | None:
    try:
        check_stream(item.conversation, item.sender, group_in(groups, item.conversation), now_ms)
    except TidingsError as error:
        return error
    return None


def _part_item(item: StreamPartItem) -> storage_pb2.PartItem:
    return storage_pb2.PartItem(
        conversation=item.conversation, seq=item.seq, sender=item.sender, part=item.part, text=item.text
    )


def _outgoing(item: StreamPartItem, groups: FoundGroups) -> OutgoingPush:
    part = client_pb2.StreamPart(conversation=item.conversation, seq=item.seq, part=item.part, text=item.text)
    return OutgoingPush(
        kind=delivery_pb2.Push.STREAM_PART,
        body=part.SerializeToString(),
        users=fanout_of(item.conversation, group_in(groups, item.conversation)).recipients,
        conversation=item.conversation,
        except_session=item.session,
    )
