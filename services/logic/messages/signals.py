"""Signals: what is worth telling right now and not worth storing ("typing").

Guarantees: an outcome for each; a signal goes to the peer and the sender's other devices, or to the members of a group
that is not large, but not to the connection that it came from; who blocks its sender gets none. Nothing else is
promised: nobody waits for Kafka, and what cannot be told at once is dropped.

Does not know: what a signal means.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.common.clock import Clock, SystemClock
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.permissions import check_signal
from services.logic.groups.recipients import fanout_of
from services.logic.people.blocks import Blocks
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from tidings_protocol import client_pb2
from tidings_protocol.content import check_signal as check_shape
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import check_conversation


class Signals:
    """Tells signals to those that they are for."""

    def __init__(self, loader: GroupLoader, publisher: Publisher, blocks: Blocks, clock: Clock | None = None) -> None:
        """`clock`: None: the system's."""
        self._loader = loader
        self._publisher = publisher
        self._blocks = blocks
        self._clock = clock or SystemClock()

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> list[TidingsError | None]:
        """The error of each signal; None: it goes out. Returns before anybody has it."""
        outcomes: list[TidingsError | None] = [_shape_error(item) for item in items]
        # As the groups are now: there is no store after this that would find the decision stale.
        groups = await self._loader.load_for(
            (item.conversation, item.sender) for item, error in zip(items, outcomes, strict=True) if error is None
        )
        pushes: list[OutgoingPush | None] = [None] * len(items)
        for index, item in enumerate(items):
            if outcomes[index] is None:
                try:
                    pushes[index] = _outgoing(item, groups, self._clock.wall_ms())
                except TidingsError as error:
                    outcomes[index] = error
        await self._blocks.refuse([(item.conversation, item.sender) for item in items], outcomes)
        outgoing = [push for push, error in zip(pushes, outcomes, strict=True) if push is not None and error is None]
        if outgoing:
            self._publisher.offer(Publication(outgoing))
        return outcomes


def _shape_error(item: logic_pb2.SignalItem) -> TidingsError | None:
    try:
        check_conversation(item.conversation)
        check_shape(item.name, item.data)
    except TidingsError as error:
        return error
    return None


def _outgoing(item: logic_pb2.SignalItem, groups: FoundGroups, now_ms: int) -> OutgoingPush:
    group = group_in(groups, item.conversation)
    check_signal(item.conversation, item.sender, group, now_ms)
    signal = client_pb2.Signal(conversation=item.conversation, name=item.name, data=item.data)
    setattr(signal, "from", item.sender)
    return OutgoingPush(
        kind=delivery_pb2.Push.SIGNAL,
        body=signal.SerializeToString(),
        users=fanout_of(item.conversation, group).recipients,
        conversation=item.conversation,
        except_session=item.session,
    )
