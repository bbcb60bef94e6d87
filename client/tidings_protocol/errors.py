"""The one tree of errors: whose fault, whether to try again, and what it is called on each wire.

Guarantees: every error that crosses a process or reaches a client is one of these; `message` is a sentence for a
person that says what to do, without internals.

Does not know: gRPC (a cluster translates by `grpc_status`), HTTP, how a connection closes (close.py).

    class             code              whose      again?   gRPC status
    BadFrame          BAD_FRAME         caller     no       INVALID_ARGUMENT
      Unparsable      BAD_FRAME         caller     no       INVALID_ARGUMENT     ends the connection
    BadRequest        BAD_REQUEST       caller     no       INVALID_ARGUMENT
    Unauthenticated   UNAUTHENTICATED   caller     no       UNAUTHENTICATED
    Forbidden         FORBIDDEN         caller     no       PERMISSION_DENIED
      Recalled        FORBIDDEN         caller     no       PERMISSION_DENIED    does not count against the caller
    NotFound          NOT_FOUND         caller     no       NOT_FOUND
    Conflict          CONFLICT          caller     no       ABORTED
    TooLarge          TOO_LARGE         caller     no       OUT_OF_RANGE
    RateLimited       RATE_LIMITED      caller     later    RESOURCE_EXHAUSTED
    Overloaded        OVERLOADED        server     later    RESOURCE_EXHAUSTED
    Unavailable       UNAVAILABLE       server     later    UNAVAILABLE
    Internal          INTERNAL          server     no       INTERNAL

What stops the start of a process is no part of it: that is `SettingsError` of the node's settings.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Blame(Enum):
    """Who can mend it."""

    CALLER = "caller"
    SERVER = "server"


class TidingsError(Exception):
    """Raise one of the subclasses, not this.

    `retry_after_ms` 0 means: do not repeat it as it is. `next_part`: of a stream, the part that is wanted; 0: none.
    `excused`: who asked could not know better, so it does not count against them.
    """

    code: ClassVar[str] = "INTERNAL"
    blame: ClassVar[Blame] = Blame.SERVER
    grpc_status: ClassVar[str] = "INTERNAL"
    default_retry_ms: ClassVar[int] = 0
    excused = False

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = self.default_retry_ms if retry_after_ms is None else retry_after_ms
        self.next_part = 0

    @property
    def retryable(self) -> bool:
        """Whether the same thing may be tried again, after `retry_after_ms`."""
        return self.retry_after_ms > 0

    @property
    def label(self) -> str:
        """The value of the `code` label in metrics."""
        return self.code.lower()


class BadFrame(TidingsError):
    """Read, but not right: `field` names what is wrong; `request_id` is 0 if it could not be read."""

    code = "BAD_FRAME"
    blame = Blame.CALLER
    grpc_status = "INVALID_ARGUMENT"

    def __init__(
        self, message: str, retry_after_ms: int | None = None, *, field: str = "", request_id: int = 0
    ) -> None:
        super().__init__(message, retry_after_ms)
        self.field = field
        self.request_id = request_id


class Unparsable(BadFrame):
    """Bytes that are no frame at all: the connection ends with goodbye 4503."""


class BadRequest(TidingsError):
    """The frame is right, what it asks for is not."""

    code = "BAD_REQUEST"
    blame = Blame.CALLER
    grpc_status = "INVALID_ARGUMENT"

    def __init__(self, message: str, retry_after_ms: int | None = None, *, next_part: int = 0) -> None:
        super().__init__(message, retry_after_ms)
        self.next_part = next_part
        # Those behind a part that was lost were under way before anybody could say so.
        self.excused = next_part > 0


class Unauthenticated(TidingsError):
    """Nobody knows who this is."""

    code = "UNAUTHENTICATED"
    blame = Blame.CALLER
    grpc_status = "UNAUTHENTICATED"


class Forbidden(TidingsError):
    """The caller is known and may not."""

    code = "FORBIDDEN"
    blame = Blame.CALLER
    grpc_status = "PERMISSION_DENIED"


class Recalled(Forbidden):
    """What was to be changed is recalled, perhaps since a moment ago. On a wire it is a Forbidden that is excused."""

    excused = True


class NotFound(TidingsError):
    """What was named is not there."""

    code = "NOT_FOUND"
    blame = Blame.CALLER
    grpc_status = "NOT_FOUND"


class Conflict(TidingsError):
    """What was to be replaced is not what is there any more: read it, decide again. As 409 in HTTP."""

    code = "CONFLICT"
    blame = Blame.CALLER
    grpc_status = "ABORTED"


class TooLarge(TidingsError):
    """More bytes than the limit allows."""

    code = "TOO_LARGE"
    blame = Blame.CALLER
    grpc_status = "OUT_OF_RANGE"


class RateLimited(TidingsError):
    """This caller sends more than its share."""

    code = "RATE_LIMITED"
    blame = Blame.CALLER
    grpc_status = "RESOURCE_EXHAUSTED"
    default_retry_ms = 1000


class Overloaded(TidingsError):
    """A queue of this server is full; nothing was done."""

    code = "OVERLOADED"
    grpc_status = "RESOURCE_EXHAUSTED"
    default_retry_ms = 500


class Unavailable(TidingsError):
    """Something that this needs is away; whether it was done may be unknown, so repeat it with the same key."""

    code = "UNAVAILABLE"
    grpc_status = "UNAVAILABLE"
    default_retry_ms = 1000


class Internal(TidingsError):
    """A defect of Tidings; the log of the node has the details."""

    code = "INTERNAL"
    grpc_status = "INTERNAL"


_BY_CODE: dict[str, type[TidingsError]] = {
    kind.code: kind
    for kind in (
        BadFrame,
        BadRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        TooLarge,
        RateLimited,
        Overloaded,
        Unavailable,
        Internal,
    )
}
CODES = frozenset(_BY_CODE)


def error_of(
    code: str, message: str, retry_after_ms: int, *, excused: bool = False, next_part: int = 0
) -> TidingsError:
    """The error with this wire code; a code of a newer version becomes Internal and keeps its message."""
    error = _BY_CODE.get(code, Internal)(message, retry_after_ms)
    error.excused, error.next_part = excused, next_part
    return error
