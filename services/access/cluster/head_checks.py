"""Whose inbox heads are to be compared, because pushes may not have reached them: said by many, worked off by one.

Guarantees: what is asked for while a check is under way is asked for still. Memory is a set of users.

Does not know: why, how heads are compared (rebalance.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple


class Due(NamedTuple):
    """`everyone`, or some users."""

    everyone: bool
    users: frozenset[str]


class HeadChecks:
    """What is to be compared of one node's users."""

    def __init__(self) -> None:
        self._everyone = False
        self._users: set[str] = set()
        self.asked = asyncio.Event()  # set while something is due

    def check(self, users: Iterable[str]) -> None:
        """Something may have been lost for these."""
        self._users.update(users)
        self.asked.set()

    def check_all(self) -> None:
        """Something may have been lost for anyone."""
        self._everyone = True
        self.asked.set()

    def take(self) -> Due:
        """What is due; from now on it is not."""
        due = Due(self._everyone, frozenset(self._users))
        self._everyone, self._users = False, set()
        self.asked.clear()
        return due
