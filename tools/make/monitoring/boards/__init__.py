"""The dashboards, one module each."""

from __future__ import annotations

from tools.make.monitoring.boards import access, capacity, logic, overview, path, storage
from tools.make.monitoring.model import Board

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    access.BOARD,
    logic.BOARD,
    storage.BOARD,
    path.BOARD,
    capacity.BOARD,
)
