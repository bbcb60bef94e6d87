"""Where to connect next, and when: seeds, addresses the servers gave, nodes that could not be reached. Pure.

Guarantees: after a loss the address of the last session is tried first, then every other known one at once; only when
all have failed does it wait (backoff.py). An address that a server
gave is followed at once, but a chain of more than three of them waits like a failure, so two servers that point at
each other cannot spin a client. Addresses that failed are told in `avoid` for a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidings.core.backoff import Backoff

AVOID_S = 60.0
AVOID_MAX = 16
LEARNED_MAX = 8
MOVES_MAX = 3
STEADY_S = 5.0  # a session that lived this long proves the address; one that did not counts as a failure


@dataclass(frozen=True, slots=True)
class Next:
    """Connect to `url` after `delay_s`."""

    url: str
    delay_s: float


class Route:
    def __init__(self, seeds: Sequence[str], random: Callable[[], float]) -> None:
        self._seeds = list(seeds)
        self._learned: list[str] = []
        self._random = random
        self._current = self._seeds[0]
        self._tried: set[str] = set()
        self._avoid: dict[str, float] = {}
        self._nodes: dict[str, str] = {}
        self._attempt = 0
        self._moves = 0
        self.backoff = Backoff()

    def first(self) -> Next:
        return Next(self._current, 0.0)

    def avoid(self, now: float) -> list[str]:
        """Names and addresses as the servers gave them, of nodes that could not be reached lately."""
        self._avoid = {url: until for url, until in self._avoid.items() if until > now}
        names = (name for url in self._avoid for name in (address_of(url), self._nodes.get(url)) if name)
        return list(dict.fromkeys(names))

    def failed(self, now: float, retry_after_s: float = 0.0) -> Next:
        """The present address could not be reached, or refused: the next one, at once if it was not tried yet."""
        self._moves = 0
        self._tried.add(self._current)
        self._avoid_address(self._current, now)
        for url in self._candidates():
            if url not in self._tried:
                self._current = url
                return Next(url, 0.0)
        self._tried.clear()
        self._current = self._after(self._current)
        return Next(self._current, retry_after_s + self._wait_s())

    def lost(self, lived_s: float, retry_after_s: float = 0.0) -> Next:
        """A session ended: the same address again."""
        self._moves = 0
        self._tried.clear()
        if lived_s >= STEADY_S:
            self._attempt = 0
        return Next(self._current, retry_after_s + self._wait_s())

    def broke(self, lived_s: float) -> Next:
        """A session ended without a word: the same address at once if it had been steady, with back-off otherwise."""
        if lived_s < STEADY_S:
            return self.lost(lived_s)
        self._moves = 0
        self._tried.clear()
        self._attempt = 0
        return Next(self._current, self._random() * self.backoff.base_s / 10)

    def moved(self, address: str, retry_after_s: float = 0.0) -> Next:
        """A server gave another address."""
        url = in_scheme(address, self._current)
        self._learn(url)
        self._current = url
        self._tried.clear()
        self._moves += 1
        if self._moves > MOVES_MAX:
            return Next(url, retry_after_s + self._wait_s())
        return Next(url, retry_after_s)

    def welcomed(self, node: str) -> None:
        """The present address is good, and this node's."""
        self._nodes.pop(self._current, None)
        self._nodes[self._current] = node
        while len(self._nodes) > AVOID_MAX:
            del self._nodes[next(iter(self._nodes))]
        self._moves = 0
        self._tried.clear()
        self._avoid.pop(self._current, None)

    def _candidates(self) -> list[str]:
        return self._seeds + [url for url in self._learned if url not in self._seeds]

    def _after(self, url: str) -> str:
        everyone = self._candidates()
        return everyone[(everyone.index(url) + 1) % len(everyone)] if url in everyone else everyone[0]

    def _wait_s(self) -> float:
        delay_s = self.backoff.delay_s(self._attempt, self._random)
        self._attempt += 1
        return delay_s

    def _learn(self, url: str) -> None:
        if url in self._learned:
            self._learned.remove(url)
        self._learned = [url, *self._learned][:LEARNED_MAX]

    def _avoid_address(self, url: str, now: float) -> None:
        self._avoid.pop(url, None)
        self._avoid[url] = now + AVOID_S
        while len(self._avoid) > AVOID_MAX:
            del self._avoid[next(iter(self._avoid))]


def in_scheme(address: str, current: str) -> str:
    """A goodbye's address as a URL: a WebSocket URL stays, host:port (TCP) takes the scheme of the present one."""
    if "://" in address:
        return address
    scheme = current.partition("://")[0]
    return f"{scheme}://{address}" if scheme in ("tcp", "tcps") else f"tcp://{address}"


def address_of(url: str) -> str:
    """The address as the server would write it: the inverse of `in_scheme`."""
    scheme, _, rest = url.partition("://")
    return rest if scheme in ("tcp", "tcps") else url
