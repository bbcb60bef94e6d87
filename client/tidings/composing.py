"""What the application writes, and to whom, in the words of the protocol. Pure.

Whom to write to is a user id or a conversation id; what begins with `g:` or `d:`, and `b:all`, is a conversation. (A
user whose id looks like that is reached by the id of the direct chat: `client.direct(user)`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidings.model import Media
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_conversation, check_user, direct


def conversation_of(to: str, me: str) -> str:
    """The conversation that is meant. Raises BadRequest that says what an id looks like."""
    if to.startswith(("g:", "d:")) or to == "b:all":
        check_conversation(to)
        return to
    return direct(me, check_user(to))


def content(
    text: str,
    data: bytes | None,
    mime: str = "",
    headers: Mapping[str, str] | None = None,
    reply_to: int = 0,
    *,
    mentions: Iterable[str] = (),
    mention_all: bool = False,
    media: Iterable[Media] = (),
    expire_after_s: int = 0,
    streaming: bool = False,
) -> pb.Content:
    """Raises BadRequest for what the server would refuse anyway."""
    files = [file.to_proto() for file in media]
    if text and data is not None:
        raise BadRequest("a message has either a text or data: give one of them")
    if not text and not data and not files and not streaming:
        raise BadRequest("a message must not be empty: give a text, data or media")
    made = pb.Content(
        mime=mime,
        headers=headers or {},
        reply_to=reply_to,
        mentions=mentions,
        mention_all=mention_all,
        media=files,
        expire_after_s=expire_after_s,
        streaming=streaming,
    )
    if data is not None:
        made.data = data
    elif text or streaming:
        made.text = text
    return made
