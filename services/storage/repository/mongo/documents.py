"""Messages and inbox entries as documents of the log, and back.

    a message   _id  p conversation  s sender  k client id  t time  b content  y kind, if not NORMAL  g change, if any
                o changes before it, if any  w state, if changed  v revision of that state, if folded
                e when it expires, if ever  xe the same, until it is erased
                m who is mentioned, if anybody  n parts, of a stream that has not ended
                of a CHANGE: a act  x seq of its target  h the content before the first edit, if that is kept
    an entry    _id  p user  c conversation  q seq  t time  y 3, of a CHANGE

The driver encodes them. Bytes put together here, one ready-made document each, took longer than dicts (3.8 instead of
3.1 µs for a message with two entries); only the whole batch as one piece was faster (2.5 µs), by what the driver does
not promise.

Guarantees: what is read is what was written. Does not know: commands.
"""

from __future__ import annotations

from services.storage.repository.keys import id_of_entry, id_of_message, number_of
from services.storage.repository.mongo.schema import Document
from services.storage.repository.records import CHANGE, NORMAL, InboxEntry, StoredMessage
from tidings_protocol import client_pb2

BESIDE_CONTENT_BYTES = 512  # what a document has beside what a message brings along, at most
_MENTION_BYTES = 16  # what one takes beside the user's id


def message_document(message: StoredMessage) -> Document:
    # Unpacked at once: a local name that nearly no message has costs next to nothing, two slices cost a quarter.
    (
        conversation, seq, sender, client_id, time_ms, content, kind, change, _, before,
        act, state, expires_ms, mentions, former, parts,
    ) = message  # fmt: skip
    document: Document = {
        "_id": id_of_message(conversation, seq),
        "p": conversation,
        "s": sender,
        "k": client_id,
        "t": time_ms,
        "b": content,
    }
    if kind != NORMAL:
        document["y"] = kind
    if change:
        document["g"] = change
    if before:
        document["o"] = before
    if act or state or expires_ms or mentions or former or parts is not None:
        _put_special(document, message)
    return document


def _put_special(document: Document, message: StoredMessage) -> None:
    if message.act:
        document["a"] = message.act
        document["x"] = client_pb2.Change.FromString(message.act).seq
    if message.state:
        document["w"] = message.state
    if message.expires_ms:
        document["e"] = document["xe"] = message.expires_ms
    if message.mentions:
        document["m"] = list(message.mentions)
    if message.former:
        document["h"] = message.former
    if message.parts is not None:
        document["n"] = message.parts


def message_of(document: Document) -> StoredMessage:
    """The message; content that was left out has its size at `l`."""
    return StoredMessage(
        document["p"],
        number_of(document["_id"]),
        document["s"],
        document["k"],
        document["t"],
        document.get("b", b""),
        document.get("y", NORMAL),
        document.get("g", b""),
        document.get("l", 0),
        document.get("o", 0),
        document.get("a", b""),
        document.get("w", b""),
        document.get("e", 0),
        tuple(document.get("m", ())),
        document.get("h", b""),
        document.get("n"),
    )


def size_of(message: StoredMessage) -> int:
    """About how many bytes the document takes, rather too many."""
    size = len(message.content) + len(message.change) + BESIDE_CONTENT_BYTES
    if message.act or message.mentions:
        size += len(message.act) + len(message.state) + len(message.former)
        size += sum(len(user) + _MENTION_BYTES for user in message.mentions)
    return size


def entry_document(entry: InboxEntry) -> Document:
    user, number, conversation, seq, time_ms, quiet = entry
    document = {"_id": id_of_entry(user, number), "p": user, "c": conversation, "q": seq, "t": time_ms}
    if quiet:
        document["y"] = CHANGE
    return document


def entry_of(document: Document) -> InboxEntry:
    return InboxEntry(
        document["p"], number_of(document["_id"]), document["c"], document["q"], document["t"], "y" in document
    )


def content_bytes(document: Document) -> int:
    """How many bytes of a document are a message's content and change."""
    return len(document.get("b", b"")) + len(document.get("g", b""))
