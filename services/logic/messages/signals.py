"""Signals: what is worth telling right now and not worth storing ("typing").

Guarantees: an outcome for each; a signal goes to the peer and the sender's other devices, or to the members of a group
that is not large, but not to the connection that it came from. Nothing else is promised: nobody waits for Kafka, and
what cannot be told at once is dropped.

Does not know: what a signal means.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.logic.groups.loader import FoundGroups, GroupLoader
from services.logic.groups.permissions import check_signal
from services.logic.groups.recipients import fanout_of
from services.logic.groups.rules import Need
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publication, Publisher
from tidings_protocol import client_pb2
from tidings_protocol.content import check_signal as check_shape
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, check_conversation


class Signals:
    """Batches of signals."""

    def __init__(self, conversations: GroupLoader, publisher: Publisher) -> None:
        self._conversations = conversations
        self._publisher = publisher

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> list[TidingsError | None]:
        """None: it goes out."""
        outcomes: list[TidingsError | None] = [_shape_error(item) for item in items]
        groups = await self._groups(
            [item for item, error in zip(items, outcomes, strict=True) if error is None and _is_group(item)]
        )
        outgoing: list[OutgoingPush] = []
        for index, item in enumerate(items):
            if outcomes[index] is None:
                try:
                    outgoing.append(_outgoing(item, groups))
                except TidingsError as error:
                    outcomes[index] = error
        if outgoing:
            self._publisher.offer(Publication(outgoing))
        return outcomes

    async def _groups(self, items: Sequence[logic_pb2.SignalItem]) -> FoundGroups:
        """As they are now: there is no store after this one that would find the decision stale."""
        needs: dict[str, list[str]] = {}
        for item in items:
            needs.setdefault(item.conversation, []).append(item.sender)
        if not needs:
            return {}
        return await self._conversations.load(
            [Need(conversation, tuple(dict.fromkeys(users))) for conversation, users in needs.items()]
        )


def _shape_error(item: logic_pb2.SignalItem) -> TidingsError | None:
    try:
        check_conversation(item.conversation)
        check_shape(item.name, item.data)
    except TidingsError as error:
        return error
    return None


def _is_group(item: logic_pb2.SignalItem) -> bool:
    return check_conversation(item.conversation) is ConversationKind.GROUP


def _outgoing(item: logic_pb2.SignalItem, groups: FoundGroups) -> OutgoingPush:
    group = groups.get(item.conversation)
    if isinstance(group, TidingsError):
        raise group
    check_signal(item.conversation, item.sender, group)
    signal = client_pb2.Signal(conversation=item.conversation, name=item.name, data=item.data)
    setattr(signal, "from", item.sender)
    return OutgoingPush(
        kind=delivery_pb2.Push.SIGNAL,
        body=signal.SerializeToString(),
        users=fanout_of(item.conversation, group).recipients,
        conversation=item.conversation,
        except_session=item.session,
    )
