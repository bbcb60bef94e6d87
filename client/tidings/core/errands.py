"""What the library asks of the server by itself, beside what the application asks. Pure.

Guarantees: an errand has a ticket below 0, under which it is found again once, when its outcome comes. Those of a
session end with it.

Does not know: why something is asked, nor what is done with the answer (device.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from tidings.core.messages.wants import Want, WantMessage, question
from tidings_protocol import client_pb2 as pb


@dataclass(frozen=True, slots=True)
class TakeToken:
    """The server shall take this token for the session that lives."""

    token: str


@dataclass(frozen=True, slots=True)
class WatchAgain:
    """The presence of these users is to be told, as it was in the session before."""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WatchProfilesAgain:
    """The same of these users' profiles."""

    users: tuple[str, ...]


Errand = Want | WantMessage | TakeToken | WatchAgain | WatchProfilesAgain


class Errands:
    def __init__(self) -> None:
        self._last_ticket = 0
        self._open: dict[int, Errand] = {}

    def begin(self, errand: Errand) -> int:
        """The ticket under which it is asked."""
        self._last_ticket -= 1
        self._open[self._last_ticket] = errand
        return self._last_ticket

    def end(self, ticket: int) -> Errand | None:
        """What was asked under this ticket; None: it ended with its session."""
        return self._open.pop(ticket, None)

    def clear(self) -> None:
        """The session is over, and nobody waits for the answers."""
        self._open.clear()


def frame_for(errand: Errand) -> pb.ClientFrame:
    """The frame that asks for it."""
    match errand:
        case TakeToken(token):
            return pb.ClientFrame(refresh=pb.Refresh(token=token))
        case WatchAgain(users):
            return pb.ClientFrame(presence=pb.PresenceRequest(users=users, watch=True))
        case WatchProfilesAgain(users):
            asked = pb.ProfileRequest.Get(users=users, watch=True)
            return pb.ClientFrame(profile=pb.ProfileRequest(get=asked))
        case WantMessage(conversation, seq):
            return pb.ClientFrame(history=pb.History(conversation=conversation, after=seq - 1, limit=1))
        case _:
            return question(errand)
