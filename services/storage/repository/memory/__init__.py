"""The repository's twin in memory, for simulation and fast tests."""

from services.storage.repository.memory.database import Database
from services.storage.repository.memory.faults import Faults

__all__ = ["Database", "Faults"]
