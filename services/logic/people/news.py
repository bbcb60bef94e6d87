"""What users set for themselves, as others hear of it: their own other devices, and who watches them.

Guarantees: nobody waits for Kafka; what cannot be published waits for it in the backlog.

Does not know: who watches whom (the access nodes do).
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from tidings_protocol import client_pb2

Push = delivery_pb2.Push


class PeopleNews:
    """Publishes it."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def preferences(self, user: str, preferences: client_pb2.ConversationPreferences, session: str) -> None:
        """Tells the user's devices, but the one of this session."""
        push = OutgoingPush(
            kind=Push.PREFERENCES, body=preferences.SerializeToString(), users=[user], except_session=session
        )
        self._publisher.offer(Publication([push]))

    def profiles(self, profiles: Sequence[client_pb2.Profile], session: str) -> None:
        """Tells who watches these users, but the connection that set them."""
        body = client_pb2.ProfileList(profiles=profiles)
        push = OutgoingPush(kind=Push.PROFILES, body=body.SerializeToString(), except_session=session)
        self._publisher.offer(Publication([push]))

    def blocks(self, change: delivery_pb2.BlockChange) -> None:
        """Tells all access nodes, which show the users concerned whether who blocks them is online."""
        self._publisher.offer(Publication([OutgoingPush(kind=Push.BLOCKS, body=change.SerializeToString())]))
