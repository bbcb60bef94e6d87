"""An insert of the twin that fails, and what of it is there."""

from __future__ import annotations

import pytest

from services.storage.repository.contract import Inserted
from services.storage.repository.memory import Database
from services.storage.repository.records import InboxEntry, StoredMessage
from tidings_protocol.errors import Unavailable

CHAT = "d:ann|bob"
MESSAGES = [StoredMessage(CHAT, seq, "ann", f"c{seq}", seq, b"") for seq in (1, 2)]
ENTRIES = [InboxEntry(user, seq, CHAT, seq, seq) for seq in (1, 2) for user in ("ann", "bob")]


def there(database: Database) -> int:
    """How many of the messages and entries are in; they are the first ones."""
    flags = [each.seq in database.messages[CHAT] for each in MESSAGES]
    flags += [each.number in database.inboxes[each.user] for each in ENTRIES]
    assert flags == sorted(flags, reverse=True)
    return sum(flags)


async def test_an_insert_that_is_lost_on_the_way_has_done_nothing() -> None:
    database = Database()
    database.faults.refuse()
    with pytest.raises(Unavailable):
        await database.repository().log.insert(MESSAGES, ENTRIES)
    assert there(database) == 0


@pytest.mark.parametrize("count", range(6))
async def test_an_insert_that_is_cut_is_done_up_to_there(count: int) -> None:
    database = Database()
    database.faults.cut(count)
    with pytest.raises(Unavailable):
        await database.repository().log.insert(MESSAGES, ENTRIES)
    assert there(database) == count


async def test_an_insert_whose_answer_is_lost_is_done() -> None:
    database = Database()
    database.faults.lose_answers()
    with pytest.raises(Unavailable):
        await database.repository().log.insert(MESSAGES, ENTRIES)
    assert there(database) == 6
    assert await database.repository().log.insert([], []) == Inserted(0)
