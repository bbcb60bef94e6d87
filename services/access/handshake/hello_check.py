"""The check of a hello: its shape, its token, bans, the client's version, and where its user is served.

Guarantees: every hello is accepted, or refused with the reason for the goodbye; a token that cannot be checked now is
an error that says so. A hello counts against its user and its device once, when its token is good.

Does not know: lanes, sessions, logic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Protocol

from services.access.connection.abuse_tracker import AbuseTracker, Device
from services.access.connection.connection import Connection
from services.access.connection.identity import NOWHERE
from services.access.placement.placement import Placement
from services.access.session.events import EndRequested
from services.common.auth.claims import Claims
from services.common.auth.tokens import TokenRefused
from services.common.clock import Clock
from services.common.telemetry import metrics
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import TidingsError

DEVICE_CHARACTERS_MAX: Final = 64
CLIENT_CHARACTERS_MAX: Final = 256
AVOID_MAX: Final = 64
# Large groups of one user whose cursors a device may send along; it reads the others by their heads.
GROUP_CURSORS_MAX: Final = 1000

USER_TOO_OFTEN: Final = "this user connected too often: connect again after the time given, and less often"
DEVICE_TOO_OFTEN: Final = "this device connected too often or misbehaved: connect again after the time given"


class Authenticate(Protocol):
    """services.common.auth.token_source.Authenticator."""

    def known(self, token: str) -> Claims | None: ...

    def authenticate(self, token: str) -> Awaitable[Claims]: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a good hello says of its user; `expires_at` is the end of the token in seconds of this node's clock."""

    user: str
    expires_at: float


class HelloCheck:
    """Checks hellos; `refused_clients` are patterns (fnmatch) of the clients that are not let in."""

    def __init__(
        self,
        authenticator: Authenticate,
        abuse: AbuseTracker,
        clock: Clock,
        placement: Placement,
        *,
        refused_clients: Sequence[str] = (),
    ) -> None:
        self._authenticator = authenticator
        self._abuse = abuse
        self._clock = clock
        self._placement = placement
        self._refused_clients = refused_clients

    def check_known(self, connection: Connection, hello: client_pb2.Hello) -> Accepted | EndRequested | None:
        """As `check`, for a token that was found good before; None: it has to be verified."""
        claims = self._authenticator.known(hello.token)
        return None if claims is None else self._check_claims(claims, connection, hello)

    async def check(self, connection: Connection, hello: client_pb2.Hello) -> Accepted | EndRequested | TidingsError:
        """Accepts the hello of a connection, or gives the reason against it; a TidingsError if it cannot be checked."""
        try:
            claims = await self._authenticator.authenticate(hello.token)
        except TokenRefused as error:
            return EndRequested(close.reason_of(error.close_code), error.reason)
        except TidingsError as error:
            return error
        return self._check_claims(claims, connection, hello)

    def _check_claims(self, claims: Claims, connection: Connection, hello: client_pb2.Hello) -> Accepted | EndRequested:
        """The check of a hello whose token is good."""
        if any(fnmatchcase(hello.client, pattern) for pattern in self._refused_clients):
            return EndRequested(close.CLIENT_REFUSED)
        now = self._clock.now_s()
        ban = self._ban(Device(claims.user, hello.device), now)
        if ban is not None:
            return ban
        avoid = frozenset(hello.avoid) if hello.avoid else NOWHERE
        address = self._placement.address_for(claims.user, connection.transport.name, avoid)
        if address:
            return EndRequested(close.MOVED, address=address)
        return Accepted(claims.user, now + claims.ends_at - self._clock.wall_ms() / 1000)

    def _ban(self, device: Device, now: float) -> EndRequested | None:
        """Counts the hello against its user and its device."""
        if self._abuse.count_user_hello(device.user, now):
            metrics.BANS.labels("reconnects").inc()
            return EndRequested(close.ABUSE, USER_TOO_OFTEN, _ms(self._abuse.ban_s))
        banned_s = self._abuse.banned_for(device, now)
        if not banned_s and self._abuse.count_hello(device, now):
            banned_s = self._abuse.ban(device, "reconnects", now)
        if banned_s:
            return EndRequested(close.ABUSE, DEVICE_TOO_OFTEN, _ms(banned_s))
        return None


def shape_refusal(hello: client_pb2.Hello) -> EndRequested | None:
    """The refusal of a hello whose fields are too long or missing; None if its shape is right."""
    if not 1 <= len(hello.device) <= DEVICE_CHARACTERS_MAX:
        message = f"`device` must have 1 to {DEVICE_CHARACTERS_MAX} characters: make one on the device, and keep it"
    elif len(hello.client) > CLIENT_CHARACTERS_MAX or len(hello.avoid) > AVOID_MAX:
        message = (
            f"`client` may have at most {CLIENT_CHARACTERS_MAX} characters, `avoid` at most {AVOID_MAX} names: "
            "shorten them"
        )
    elif len(hello.group_cursors) > GROUP_CURSORS_MAX:
        message = (
            f"`group_cursors` may have at most {GROUP_CURSORS_MAX} groups: leave out those without news for longest"
        )
    else:
        return None
    return EndRequested(close.BAD_FRAME, message)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
