"""What a token says, and the keys that tokens are checked with.

Does not know: signatures, where keys come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

# How far clocks may differ.
LEEWAY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Key:
    """A key that checks signatures, bound to one algorithm. `material`: bytes of a secret, or a public key object."""

    algorithm: str
    material: Any = field(repr=False)
    kid: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says."""

    user: str
    expires_at: float  # seconds since 1970, as in the token

    @property
    def ends_at(self) -> float:
        """When a session with this token ends."""
        return self.expires_at + LEEWAY_S
