"""What is not plain about a content: what access tells logic, and logic storage, beside the content itself.

Guarantees: pure; nothing is said of a content that has none of it.

Does not know: what becomes of it.
"""

from __future__ import annotations

from protos.tidings.internal.v1.common_pb2 import Special
from tidings_protocol import client_pb2


def special_of(content: client_pb2.Content) -> Special | None:
    """What is not plain about a checked content; None: it is plain."""
    if not (content.mentions or content.mention_all or content.media or content.expire_after_s or content.streaming):
        return None
    special = Special()
    note_content(special, content)
    return special


def note_content(special: Special, content: client_pb2.Content) -> None:
    """Writes into `special` what it says of a content, in place of what it said of another one."""
    del special.mentions[:], special.media[:]
    special.mentions.extend(content.mentions)
    special.mention_all = content.mention_all
    special.expire_after_s = content.expire_after_s
    special.streaming = content.streaming
    for media in content.media:
        special.media.append(media.id)
        if media.thumbnail:
            special.media.append(media.thumbnail)
