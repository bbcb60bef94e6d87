"""What can happen to a connection (events) and what may follow (effects): values between session.py and its shell.

Does not know: when which of them is right; that is session.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.access.session.heartbeat import FOREVER
from tidings_protocol.close import CloseReason

if TYPE_CHECKING:
    from services.access.session.session import Session

# ---- events


@dataclass(frozen=True, slots=True)
class FrameCame:
    """A frame that could be read; `body` is the name of its operation, `size` its bytes."""

    body: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """A frame came that is not right; `fatal`: it is no frame at all."""

    message: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class FrameTooLarge:
    """A frame was announced that is larger than the limit."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """The user does too much of something, on all connections together; `kind` for the count."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class HelloAccepted:
    """The token is right and the user may be served here. `expires_at`: of the token, on this machine's clock."""

    kind: int
    expires_at: float = FOREVER


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is stored."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The client has shown a new token of the same user. `expires_at`: as in HelloAccepted."""

    expires_at: float


@dataclass(frozen=True, slots=True)
class EndRequested:
    """The server has a reason to end it at once: a refusal, an eviction, a defect."""

    reason: CloseReason
    message: str = ""
    retry_after_ms: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class AskedToLeave:
    """The server wants it to go elsewhere, after what is unanswered."""

    reason: CloseReason
    message: str = ""
    retry_after_ms: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class Ticked:
    """The time asked for by `due` has come."""


@dataclass(frozen=True, slots=True)
class PeerGone:
    """The transport is closed."""


Event = (
    FrameCame
    | FrameRefused
    | FrameTooLarge
    | Misbehaved
    | HelloAccepted
    | Opened
    | Refreshed
    | EndRequested
    | AskedToLeave
    | Ticked
    | PeerGone
)

# ---- effects


@dataclass(frozen=True, slots=True)
class Become:
    """The session is in its next phase; the first of the effects."""

    session: Session


@dataclass(frozen=True, slots=True)
class CheckHello:
    """Check the token, the ban, the placement; then HelloAccepted or EndRequested."""


@dataclass(frozen=True, slots=True)
class StoreSession:
    """Register it here and with logic; then Opened or EndRequested."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Send the welcome, then what was pushed meanwhile."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Do what the frame at hand asks; `answer` when it is answered (if the table of operations says that it is)."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the frame at hand until `take_held` says so."""


@dataclass(frozen=True, slots=True)
class HandleHeld:
    """Handle what is held, as long as `take_held` says so."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the frame at hand with an error."""

    code: str
    message: str
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class StopReading:
    """Read no further from the transport."""


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """The transport is to read on."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Is anybody there? A WebSocket ping; on TCP a `pong` push."""


@dataclass(frozen=True, slots=True)
class AskToSync:
    """Send `lagging` with paused = false."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Send `lagging` with paused = true."""


@dataclass(frozen=True, slots=True)
class SayGoodbye:
    """Send the goodbye and close; `reason` None: close with 1000 and without one."""

    reason: CloseReason | None
    message: str = ""
    retry_after_ms: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class Unregister:
    """Take it out of this node's indexes."""


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Tell logic that the session is over."""


@dataclass(frozen=True, slots=True)
class Ban:
    """The user's device stays away for a while; the goodbye that follows says how long. `kind`: what it did."""

    kind: str = ""


@dataclass(frozen=True, slots=True)
class Abort:
    """End the transport now."""


Effect = (
    Become
    | CheckHello
    | StoreSession
    | Welcome
    | Dispatch
    | Hold
    | HandleHeld
    | Refuse
    | StopReading
    | ResumeReading
    | Probe
    | AskToSync
    | Pause
    | SayGoodbye
    | Unregister
    | CloseSession
    | Ban
    | Abort
)
Effects = tuple[Effect, ...]
