"""`tidings capacity`: what a cluster for so many users needs, from measured figures; and the ring, measured."""

from __future__ import annotations

from tools.bench.capacity.command import capacity

__all__ = ["capacity"]
