"""Whose a connection is: what a hello that was right has said, and what this node has named it.

Does not know: tokens, frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tidings_protocol import client_pb2

NOWHERE: Final[frozenset[str]] = frozenset()
_KINDS: Final[dict[int, str]] = {
    client_pb2.Hello.WEB: "web",
    client_pb2.Hello.MOBILE: "mobile",
    client_pb2.Hello.DESKTOP: "desktop",
    client_pb2.Hello.BOT: "bot",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who one connection is. `boot_id`: of this node, when it was taken; `since_ms`: since the epoch."""

    user: str
    device: str
    session_id: str
    kind: int = client_pb2.Hello.WEB
    boot_id: str = ""
    since_ms: int = 0
    client: str = ""
    attempt: int = 0
    protocol: int = 0  # what the client was written to, 11 for 1.1; 0: 1.0
    avoid: frozenset[str] = NOWHERE  # nodes and addresses that this client cannot reach

    @property
    def kind_name(self) -> str:
        """The kind of device, as the metrics and the log show it."""
        return _KINDS.get(self.kind, "web")


# Whose a connection is before its hello was right.
STRANGER: Final = Identity("", "", "")
