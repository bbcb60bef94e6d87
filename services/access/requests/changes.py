"""Changes of messages as they go on to logic: in the lane of their conversation, among the sends to it.

So a change passes nothing that its user has sent to that conversation before, and what is changed is stored.

Guarantees: pure; what is given is checked as far as a frame alone can be (tidings_protocol/changes.py).

Does not know: lanes, who may change what.
"""

from __future__ import annotations

from typing import NamedTuple

from protos.tidings.internal.v1.common_pb2 import Special
from services.common.special import note_content
from tidings_protocol import changes, client_pb2


class ChangeRow(NamedTuple):
    """What a change is among sends: `content` of an edit, else empty, and what else logic is told."""

    content: bytes
    special: Special


def row_of(change: client_pb2.Change, content_bytes_max: int) -> ChangeRow:
    """A change of a client. Raises BadRequest or TooLarge."""
    changes.check_change(change, content_bytes_max)
    special = Special()
    content = b""
    if change.HasField("edit"):
        content = changes.encode_edit(change, content_bytes_max)
        note_content(special, change.edit)
    special.change = changes.act_alone(change)
    return ChangeRow(content, special)
