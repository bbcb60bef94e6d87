"""The layout of 0.1.0: two collections, of which the log took the place.

    messages   _id conversation 00 seq   c conversation   and the rest as in the log
    inbox      _id user 00 number        u user           and the rest as in the log

Messages and entries of that version never changed: only retention removed the oldest ones.
Does not know: how they get into the log (migration.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.storage.repository.keys import id_of_entry, number_of
from services.storage.repository.mongo.documents import entry_document, entry_of, message_document, message_of
from services.storage.repository.mongo.schema import Document


@dataclass(frozen=True, slots=True)
class FormerCollection:
    """`to_document` and `to_id` give what is in the log for it; `in_log` finds all of its kind there."""

    name: str
    to_document: Callable[[Document], Document]
    to_id: Callable[[bytes], bytes]
    in_log: Document


def _message(former: Document) -> Document:
    return message_document(message_of({**former, "p": former["c"]}))


def _entry(former: Document) -> Document:
    return entry_document(entry_of({**former, "p": former["u"]}))


def _entry_id(former: bytes) -> bytes:
    return id_of_entry(former[:-9].decode(), number_of(former))


FORMER = (
    FormerCollection("messages", _message, lambda former: former, {"k": {"$exists": True}}),
    FormerCollection("inbox", _entry, _entry_id, {"k": {"$exists": False}}),
)
