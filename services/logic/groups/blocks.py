"""The port by which changes of groups ask who has blocked whom: nobody is added to a group by whom they have blocked.

Does not know: who blocks, and how that is kept.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Blocks(Protocol):
    """Who has blocked whom."""

    async def blocking(self, user: str, others: Collection[str]) -> frozenset[str]:
        """Those of the others who have blocked this user. Raises TidingsError if that is not known."""
        ...


class NoBlocks:
    """Nobody has blocked anybody."""

    async def blocking(self, user: str, others: Collection[str]) -> frozenset[str]:  # noqa: ARG002
        """Nobody of the others."""
        return frozenset()
