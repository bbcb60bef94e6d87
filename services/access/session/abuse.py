"""Abuse: what a client does so much of that its connection ends, and how that ends it.

    frames, bytes         beyond twice the limit of a window (limits.py)
    refused               too many requests were answered with one of COUNTED_REFUSALS, unless they may be asked again
                          later or are excused: on a connection (limits.py), or on all those of its user
                          (connection/abuse_tracker.py)
    parts of frames       too many before the welcome; nobody is banned for it, since nobody knows whose they are

Too many hellos are abuse too: they are counted and refused before a session begins (handshake/hello_check.py).

Guarantees: the next phase comes first, then the ban, then the goodbye that says how long it lasts.

Does not know: for how long a ban is.
"""

from __future__ import annotations

from typing import Final

from services.access.session.events import Ban, Effects

# Refusals that count against the client; RATE_LIMITED and those of the server do not.
COUNTED_REFUSALS: Final = frozenset({"BAD_FRAME", "BAD_REQUEST", "FORBIDDEN"})
# Parts of frames and control frames before the welcome: a hello in fragments has a good part of them.
EARLY_PARTS_MAX: Final = 2048

TOO_MUCH: Final = "far too many frames or bytes in a short time: send fewer, and connect again after the time given"
TOO_MANY_REFUSED: Final = (
    "too many bad or forbidden requests within a minute: mend what asks them, and connect again after the time given"
)
TOO_MANY_PARTS: Final = "too many parts of frames before the welcome: connect again, and send `hello` in one frame"


def counts(code: str, retry_after_ms: int, *, excused: bool = False) -> bool:
    """Whether a refusal counts against the client: not if it says when to ask again, as where sends are slowed, and not
    if the client could not know better, as of a message that was recalled a moment ago.
    """
    return code in COUNTED_REFUSALS and not retry_after_ms and not excused


def with_ban(ended: Effects, kind: str) -> Effects:
    """The effects of an end, with a ban for this kind of abuse after the next phase."""
    return (*ended[:1], Ban(kind), *ended[1:])
