"""The dashboards, one module each."""

from __future__ import annotations

from tools.monitoring.boards import access, capacity, logic, overview, path, storage
from tools.monitoring.model import Board

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    access.BOARD,
    logic.BOARD,
    storage.BOARD,
    path.BOARD,
    capacity.BOARD,
)
