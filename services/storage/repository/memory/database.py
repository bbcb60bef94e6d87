"""The repository's twin in memory, for simulation and fast tests; it can fail on command.

    database = Database()                     what is durable: outlives the nodes that use it
    repository = database.repository()        the ports, as one node sees them
    database.faults.away = True               every command raises Unavailable, and does nothing
    database.faults.refuse(2)                 the next two do
    database.faults.lose_answers(1)           the next write is done, and raises all the same: its outcome is unknown
    database.faults.cut(3)                    the next ordered insert does 3 and raises
    database.clock.jump(1000)                 its time of day is set, if it was given a ManualClock
    database.faults.delay = hook              awaited before and after each command, with its name: latency, or a crash

Guarantees: those of repository/contract.py; one command is atomic, as one event loop runs it.
Does not know: MongoDB. That both behave alike is held by the contract suite.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.storage.repository import contract
from services.storage.repository.memory.conversations import MemoryChanges, MemoryConversations, MemoryMembers
from services.storage.repository.memory.expiry import MemoryExpiry
from services.storage.repository.memory.faults import Faults
from services.storage.repository.memory.feed import MemoryFeed
from services.storage.repository.memory.groups import GroupTables, memory_groups
from services.storage.repository.memory.hidden import MemoryHidden
from services.storage.repository.memory.log import MemoryLog
from services.storage.repository.memory.messages import MemoryInboxes, MemoryMessages
from services.storage.repository.memory.people import MemoryBlocks, MemoryPreferences, MemoryProfiles
from services.storage.repository.memory.reactions import MemoryReactions
from services.storage.repository.memory.sessions import MemorySessions, MemoryTime, MemoryUsers
from services.storage.repository.memory.streams import MemoryStreams
from services.storage.repository.memory.tables import Tables


@dataclass(slots=True)
class Database(Tables):
    """What is durable, and the ports on it. `beside`: what lies beside the members of groups."""

    beside: GroupTables = field(default_factory=GroupTables)

    def repository(self, faults: Faults | None = None) -> contract.Repository:
        """The ports. With faults of its own, one node can be cut off while others go on."""
        chosen = self.faults if faults is None else faults
        return contract.Repository(
            MemoryLog(self, chosen),
            MemoryMessages(self, chosen),
            MemoryInboxes(self, chosen),
            MemoryConversations(self, chosen),
            MemoryMembers(self, chosen),
            MemoryChanges(self, chosen),
            MemoryFeed(self, chosen),
            MemorySessions(self, chosen),
            MemoryUsers(self, chosen),
            MemoryPreferences(self, chosen),
            MemoryBlocks(self, chosen),
            MemoryProfiles(self, chosen),
            MemoryTime(self, chosen),
            MemoryHidden(self, chosen),
            MemoryStreams(self, chosen),
            MemoryExpiry(self, chosen),
            MemoryReactions(self, chosen),
            memory_groups(self, chosen, self.beside),
        )
