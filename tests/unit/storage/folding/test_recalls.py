"""Who hears that messages are recalled."""

from __future__ import annotations

from collections.abc import Sequence

from services.storage.folding.recalls import Recalls
from services.storage.repository.records import MessageKey


def test_all_who_listen_are_told() -> None:
    recalls, heard = Recalls(), list[tuple[str, MessageKey]]()

    def listener(name: str, messages: Sequence[MessageKey]) -> None:
        heard.extend((name, message) for message in messages)

    recalls.tell([("g:1", 1)])
    recalls.listen(lambda messages: listener("one", messages))
    recalls.listen(lambda messages: listener("two", messages))
    recalls.tell([("g:1", 2), ("g:1", 3)])
    assert heard == [("one", ("g:1", 2)), ("one", ("g:1", 3)), ("two", ("g:1", 2)), ("two", ("g:1", 3))]
