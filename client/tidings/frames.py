"""The frames that the application's calls become. Pure.

Whom to write to is a user id or a conversation id; what begins with `g:` or `d:`, and `b:all`, is a conversation. (A
user whose id looks like that is reached by the id of the direct chat: `client.direct(user)`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from tidings.model import Role
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_conversation, check_user, direct


def conversation_of(to: str, me: str) -> str:
    """The conversation that is meant. Raises BadRequest that says what an id looks like."""
    if to.startswith(("g:", "d:")) or to == "b:all":
        check_conversation(to)
        return to
    return direct(me, check_user(to))


def content(text: str, data: bytes | None, mime: str, headers: Mapping[str, str] | None, reply_to: int) -> pb.Content:
    """Raises BadRequest for what the server would refuse anyway."""
    if text and data is not None:
        raise BadRequest("a message has either a text or data: give one of them")
    if not text and not data:
        raise BadRequest("a message must not be empty: give a text or data")
    made = pb.Content(mime=mime, headers=headers or {}, reply_to=reply_to)
    if data is None:
        made.text = text
    else:
        made.data = data
    return made


def send(client_id: str, conversation: str, body: pb.Content) -> pb.ClientFrame:
    return pb.ClientFrame(send=pb.Send(client_id=client_id, conversation=conversation, content=body))


def read(conversation: str, seq: int) -> pb.ClientFrame:
    return pb.ClientFrame(read=pb.Read(conversation=conversation, seq=seq))


def history(conversation: str, before: int | None, after: int | None, limit: int) -> pb.ClientFrame:
    asked = pb.History(conversation=conversation, limit=limit)
    if before is not None:
        asked.before = before
    if after is not None:
        asked.after = after
    return pb.ClientFrame(history=asked)


def sync(after: int, limit: int) -> pb.ClientFrame:
    return pb.ClientFrame(sync=pb.Sync(after=after, limit=limit))


def conversations(after: str, limit: int) -> pb.ClientFrame:
    return pb.ClientFrame(conversations=pb.ListConversations(after=after, limit=limit))


def signal(conversation: str, name: str, data: bytes) -> pb.ClientFrame:
    return pb.ClientFrame(signal=pb.Signal(conversation=conversation, name=name, data=data))


def presence(users: Iterable[str], *, watch: bool) -> pb.ClientFrame:
    return pb.ClientFrame(presence=pb.PresenceRequest(users=users, watch=watch))


def create(
    name: str, members: Iterable[str], client_id: str, *, is_open: bool, channel: bool, share_history: bool
) -> pb.ClientFrame:
    act = pb.GroupRequest.Create(
        name=name, members=members, client_id=client_id, open=is_open, channel=channel, share_history=share_history
    )
    return pb.ClientFrame(group=pb.GroupRequest(create=act))


def join(group: str) -> pb.ClientFrame:
    return pb.ClientFrame(group=pb.GroupRequest(join=pb.GroupRequest.Join(conversation=group)))


def leave(group: str) -> pb.ClientFrame:
    return pb.ClientFrame(group=pb.GroupRequest(leave=pb.GroupRequest.Leave(conversation=group)))


def add(group: str, users: Iterable[str]) -> pb.ClientFrame:
    return pb.ClientFrame(group=pb.GroupRequest(add=pb.GroupRequest.Add(conversation=group, users=users)))


def remove(group: str, users: Iterable[str]) -> pb.ClientFrame:
    return pb.ClientFrame(group=pb.GroupRequest(remove=pb.GroupRequest.Remove(conversation=group, users=users)))


def set_role(group: str, user: str, role: Role) -> pb.ClientFrame:
    act = pb.GroupRequest.SetRole(conversation=group, user=user, role=cast("pb.Member.Role.ValueType", int(role)))
    return pb.ClientFrame(group=pb.GroupRequest(set_role=act))


def rename(group: str, name: str) -> pb.ClientFrame:
    return pb.ClientFrame(group=pb.GroupRequest(rename=pb.GroupRequest.Rename(conversation=group, name=name)))


def info(group: str) -> pb.ClientFrame:
    return pb.ClientFrame(group=pb.GroupRequest(info=pb.GroupRequest.Info(conversation=group)))


def members(group: str, after: str, limit: int) -> pb.ClientFrame:
    act = pb.GroupRequest.Members(conversation=group, after=after, limit=limit)
    return pb.ClientFrame(group=pb.GroupRequest(members=act))
