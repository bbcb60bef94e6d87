"""What goes into the core (events) and what comes out of it (effects).

An event tells what happened; the shell performs the effects in their order. Events of a connection carry the number
that the `Open` effect gave it, so that what an abandoned connection still says is not mistaken for the present one.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidings.model import Notice
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import TidingsError


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to connect."""


@dataclass(frozen=True, slots=True)
class TokenReady:
    token: str


@dataclass(frozen=True, slots=True)
class TokenFailed:
    """The application could not give a token now; `final`: it never will."""

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """The application gave a token for the session that lives."""

    token: str


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """The application could not give one now."""


@dataclass(frozen=True, slots=True)
class Opened:
    """`wall_ms`: what time this device thinks it is; 0: it has no idea."""

    link: int
    wall_ms: int = 0


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """No connection came about. `retry_after_s`: what the server asked for, 0 if it said nothing."""

    link: int
    reason: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    link: int
    frame: pb.ServerFrame


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone. `code`: of the WebSocket close frame; 0: it just broke."""

    link: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went on: `next_wake` was reached, or something was taken."""


@dataclass(frozen=True, slots=True)
class Submit:
    """The application asks for something.

    `lane`: what keeps its order (a conversation); empty: any order. `timeout_s` None: never given up. It is sent again
    when it is not known whether it was done, so it must be something that may be.
    """

    ticket: int
    frame: pb.ClientFrame
    lane: str = ""
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this ticket any more."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Tell:
    """A frame without an answer (a signal): sent now if the session is live, else dropped."""

    frame: pb.ClientFrame


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep watching these users' presence (or their profiles) over reconnections, or stop it."""

    users: tuple[str, ...]
    on: bool
    profiles: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """The person is away (or back): a mobile device then beats more slowly."""

    idle: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """The application closes the client."""


Input = (
    Start
    | TokenReady
    | TokenFailed
    | Renewed
    | RenewalFailed
    | Opened
    | OpenFailed
    | Received
    | Lost
    | Tick
    | Submit
    | Cancel
    | Tell
    | Watch
    | Idle
    | Leave
)


@dataclass(frozen=True, slots=True)
class AskToken:
    """Get a token; `fresh`: the last one was refused, so not that one again."""

    fresh: bool


@dataclass(frozen=True, slots=True)
class Renew:
    """Get a token for the session that lives: the one it has ends soon."""


@dataclass(frozen=True, slots=True)
class Open:
    link: int
    url: str


@dataclass(frozen=True, slots=True)
class Transmit:
    frame: pb.ClientFrame


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection; what it still says does not matter."""

    link: int


@dataclass(frozen=True, slots=True)
class Done:
    ticket: int
    frame: pb.ServerFrame


@dataclass(frozen=True, slots=True)
class Failed:
    ticket: int
    error: TidingsError


@dataclass(frozen=True, slots=True)
class Notify:
    """Something happened that the application is told, if it listens."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Available:
    """There are messages to take."""


@dataclass(frozen=True, slots=True)
class Save:
    """Where this device stands has changed: keep it soon."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """No session follows any more; `error` None: because the application left."""

    error: TidingsError | None


Effect = AskToken | Renew | Open | Transmit | Drop | Done | Failed | Notify | Available | Save | Stopped
