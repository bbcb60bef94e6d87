"""What comes for a connection while its session is being stored: it goes out after the welcome.

Guarantees: bounded; what does not fit shows by its number, so that the client can be nudged.

Does not know: connections.
"""

from __future__ import annotations

from tidings_protocol import client_pb2
from tidings_protocol.wire.body import EncodedBody

EARLY_MAX = 64


class PushBuffer:
    """What has come for one connection."""

    __slots__ = ("dropped", "left_groups", "pushes")

    def __init__(self) -> None:
        self.pushes: list[tuple[int, EncodedBody]] = []
        self.dropped = 0  # the highest number that did not fit
        self.left_groups: set[str] = set()

    def add(self, number: int, body: EncodedBody) -> None:
        """A push with its inbox number (0: none)."""
        if len(self.pushes) < EARLY_MAX:
            self.pushes.append((number, body))
        else:
            self.dropped = max(self.dropped, number)

    def messages_after(self, head: int) -> list[tuple[int, EncodedBody]]:
        """Messages that a sync up to this head does not bring, in inbox order."""
        found = [
            (number, body)
            for number, body in self.pushes
            if body.kind is client_pb2.Message and (number > head or not number)
        ]
        return sorted(found, key=lambda entry: entry[0])

    def others(self) -> list[EncodedBody]:
        """Everything that is no message."""
        return [body for _, body in self.pushes if body.kind is not client_pb2.Message]
