"""The witness: a `sent` for what is not in every inbox is seen at once, even if it comes there later."""

from __future__ import annotations

from services.storage.repository.memory import Database
from services.storage.repository.records import InboxEntry, StoredMessage
from tests.simulation.judging.witness import Witness
from tests.support.histories.history import Acknowledged, History

CHAT = "d:ann|bob"
SENT = Acknowledged("ann/1", 1, "ann", CHAT, "c1", 1, "id-1", 1, duplicate=True)


def test_what_is_acknowledged_before_it_is_in_every_inbox_is_seen_although_it_comes_there_later() -> None:
    database, history = Database(), History()
    witness = Witness(database, history)
    database.messages[CHAT][1] = StoredMessage(CHAT, 1, "ann", "c1", 1, b"x")
    database.inboxes["ann"][1] = InboxEntry("ann", 1, CHAT, 1, 1)
    assert witness.half_done() == [CHAT]
    history.add(SENT)
    database.inboxes["bob"][1] = InboxEntry("bob", 1, CHAT, 1, 1)
    assert [each.promise for each in witness.violations] == ["G1"]
    assert "the inbox of bob" in str(witness.violations[0])
    history.add(SENT)
    assert len(witness.violations) == 1
    assert witness.half_done() == []
