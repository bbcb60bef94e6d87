"""Tokens that were found good a while ago: who shows one again is let in without its signature being checked again.

A signature does not change, so what a good token says holds until it ends, or until its key is withdrawn. Tokens are
known by a digest of all their bytes, so no token that could be used is kept in memory.

Guarantees: pure. A token is known only from the time when it was found good until it ends, and only while the very key
that signed it is one of the present keys: keys that were fetched anew make all tokens unknown. Nothing is kept of a
token that was refused. At most `tokens_max`; those that were verified longest ago go first.

Does not know: signatures, claims beyond the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from services.common.auth.claims import Claims, Key

# About 0.4 KB each.
TOKENS_MAX: Final = 50_000


class SeenToken(NamedTuple):
    """A good token; `since` is when it was found good, in seconds since 1970."""

    claims: Claims
    key: Key
    since: float


class SeenTokens:
    def __init__(self, tokens_max: int = TOKENS_MAX) -> None:
        self._tokens_max = tokens_max
        self._seen: dict[bytes, SeenToken] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def claims_of(self, token: str, keys: Iterable[Key], now: float) -> Claims | None:
        """What a token says that is known to be good at `now`; None: it must be verified."""
        digest = _digest(token)
        seen = self._seen.get(digest)
        if seen is None:
            return None
        if not seen.since <= now < seen.claims.ends_at or not any(seen.key is key for key in keys):
            del self._seen[digest]
            return None
        return seen.claims

    def add(self, token: str, claims: Claims, key: Key, now: float) -> None:
        """Keeps what a token says that was verified at `now` with this key."""
        if len(self._seen) >= self._tokens_max:
            del self._seen[next(iter(self._seen))]
        self._seen[_digest(token)] = SeenToken(claims, key, now)


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
