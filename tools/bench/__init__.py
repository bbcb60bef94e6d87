"""`tidings bench`: loads a cluster, counts what became of every message, and measures. One command a workload."""

from __future__ import annotations

from tools.bench.command import bench

__all__ = ["bench"]
