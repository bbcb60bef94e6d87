"""What a client may ask for: one row for each request of ClientFrame's oneof, which everybody else goes by.

    access    which frames are served in a session, what each counts against, in which lane it goes on
              (access/session/, access/requests/requests.py)
    logic     which handler answers a frame that was passed on to it (logic/requests/dispatcher.py)
    client    which frame a request is (client.py), which answers it may have (core/messages/outbox.py)
    docs      the table of requests in docs/protocol.md (`make docs` writes it)

A new request is a row here, its frame in client.proto, and a handler that registers by the row's name.

Guarantees: the rows are the oneof exactly, and their answers are bodies of ServerFrame (a test holds them to the
descriptors); names are unique.

Does not know: who handles what how, limits in numbers, frames' contents beyond which act a request names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message

from tidings_protocol.client_pb2 import ClientFrame


class Order(Enum):
    """With what a request keeps its order, among those that go the same way: sends, signals, pages, small replies.

    What must not pass a send that is not answered yet goes the way of sends. Whoever refers to a message by its seq has
    it, so it is stored.
    """

    CONNECTION = "connection"  # handled where the connection is
    CONVERSATION = "conversation"  # in its conversation's lane, so that nothing passes what it refers to
    USER = "user"  # in its user's lane, on whichever connections


class Size(Enum):
    """How large a reply may be. Pages have lanes of their own, and few of them are unanswered at a time (`pages_max`),
    so that small replies do not wait behind them."""

    SMALL = "small"
    PAGE = "page"


class Handler(Enum):
    """Who does it."""

    ACCESS = "access"  # the access node knows it by its type, and may have a call of its own to logic for it
    LOGIC = "logic"  # passed on as an opaque frame; a handler of logic registers by its name


class Limit(Enum):
    """What a request counts against, beside frames, bytes and unanswered requests, against which all count."""

    SENDS = "sends"  # sends a second
    PARTS = "parts"  # parts of streams a second
    REFRESHES = "refreshes"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request. With an `act` it is that choice of the request's own oneof `act`; the row without one is the rest.

    `answers`: bodies of ServerFrame, of which the reply is one, or an `error`; none: only an error is told.
    `answered`: it has a reply, or an outcome that is waited for; what is not is never refused either.
    `used`: it shows that a person uses the client, which a device that is left alone does not do.
    `inside`: it may be asked for in a session; the others begin and end one.
    """

    body: str
    answers: tuple[str, ...]
    order: Order
    handler: Handler
    act: str = ""
    size: Size = Size.SMALL
    limit: Limit | None = None
    answered: bool = True
    used: bool = True
    inside: bool = True
    name: str = field(init=False)  # of the row: the body, and the act if it has one

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.body}.{self.act}" if self.act else self.body)


_ROWS: Final = (
    Operation("hello", ("welcome",), Order.CONNECTION, Handler.ACCESS, inside=False),
    Operation("send", ("sent",), Order.CONVERSATION, Handler.ACCESS, limit=Limit.SENDS),
    Operation("ack", (), Order.CONNECTION, Handler.ACCESS, answered=False, used=False),
    # Judged in the order of the log: it must not pass a send to the same conversation.
    Operation("change", ("sent",), Order.CONVERSATION, Handler.ACCESS, limit=Limit.SENDS),
    Operation("stream_part", (), Order.CONVERSATION, Handler.ACCESS, limit=Limit.PARTS),
    Operation("read", ("ok",), Order.USER, Handler.LOGIC),
    Operation("hide", ("ok",), Order.USER, Handler.LOGIC),
    Operation("prefer", ("ok",), Order.USER, Handler.LOGIC),
    # A client syncs by itself whenever it lacks something.
    Operation("sync", ("page",), Order.USER, Handler.LOGIC, size=Size.PAGE, used=False),
    Operation("history", ("page",), Order.USER, Handler.LOGIC, size=Size.PAGE),
    # 200 conversations with their last messages are as large as a page of a history.
    Operation("conversations", ("conversation_page",), Order.USER, Handler.LOGIC, size=Size.PAGE),
    # A change, and what is known of a group, are a few fields; so a rename does not use up the places for pages.
    Operation("group", ("group_info", "ok"), Order.USER, Handler.LOGIC),
    Operation("group", ("group_info",), Order.USER, Handler.LOGIC, act="info"),
    # 500 members: 35 KiB.
    Operation("group", ("member_page",), Order.USER, Handler.LOGIC, act="members", size=Size.PAGE),
    Operation("group", ("invite_info",), Order.USER, Handler.LOGIC, act="invite"),
    Operation("group", ("invite_page",), Order.USER, Handler.LOGIC, act="invites", size=Size.PAGE),
    Operation("group", ("user_page",), Order.USER, Handler.LOGIC, act="banned", size=Size.PAGE),
    Operation("group", ("join_request_page",), Order.USER, Handler.LOGIC, act="join_requests", size=Size.PAGE),
    Operation("readers", ("reader_page",), Order.USER, Handler.LOGIC, size=Size.PAGE),
    Operation("reactors", ("reactor_page",), Order.USER, Handler.LOGIC, size=Size.PAGE),
    Operation("block", ("ok",), Order.USER, Handler.LOGIC),
    Operation("block", ("user_page",), Order.USER, Handler.LOGIC, act="list", size=Size.PAGE),
    Operation("profile", ("profile_list",), Order.USER, Handler.LOGIC),
    Operation("upload", ("upload_grant",), Order.USER, Handler.LOGIC),
    Operation("download", ("download_grant",), Order.USER, Handler.LOGIC),
    Operation("push_target", ("ok",), Order.USER, Handler.LOGIC, used=False),
    Operation("search", ("search_page",), Order.USER, Handler.LOGIC, size=Size.PAGE),
    Operation("signal", (), Order.CONVERSATION, Handler.ACCESS),
    Operation("presence", ("presence_list",), Order.USER, Handler.LOGIC),
    Operation("ping", ("pong",), Order.CONNECTION, Handler.ACCESS, used=False),
    Operation("refresh", ("ok",), Order.CONNECTION, Handler.ACCESS, limit=Limit.REFRESHES, used=False),
    Operation("bye", (), Order.CONNECTION, Handler.ACCESS, answered=False, used=False, inside=False),
)

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType({row.name: row for row in _ROWS})
# Those that may be asked for in a session. A plain dict: it is looked into for every frame.
REQUESTS: Final[dict[str, Operation]] = {row.name: row for row in _ROWS if row.inside}
# The bodies of which some acts have rows of their own: `name_of` says which row a frame is.
ACTS: Final[Mapping[str, Mapping[str, str]]] = {
    body: {row.act: row.name for row in _ROWS if row.body == body and row.act}
    for body in dict.fromkeys(row.body for row in _ROWS if row.act)
}


def name_of(frame: ClientFrame) -> str:
    """The name of the row that this frame is; empty without a body."""
    body = frame.WhichOneof("body")
    if body is None:
        return ""
    acts = ACTS.get(body)
    if acts is None:
        return body
    return acts.get(getattr(frame, body).WhichOneof("act"), body)


def frame_of(request: Message) -> ClientFrame:
    """The frame that asks for this: a body of ClientFrame, or an act of one, which then stands in its body.

    Raises ValueError for what no client may ask for.
    """
    place = _PLACES.get(request.DESCRIPTOR.full_name)
    if place is None:
        raise ValueError(f"{request.DESCRIPTOR.full_name} is no request: give a body of ClientFrame, or an act of one")
    frame = ClientFrame()
    held: Message = frame
    for name in place:
        held = getattr(held, name)
    held.SetInParent()  # also if nothing is said in it
    held.CopyFrom(request)
    return frame


def _places() -> Iterator[tuple[str, tuple[str, ...]]]:
    for body in dict.fromkeys(row.body for row in _ROWS):
        request = getattr(ClientFrame(), body)
        yield request.DESCRIPTOR.full_name, (body,)
        acts = request.DESCRIPTOR.oneofs_by_name.get("act")
        if acts is not None and all(act.message_type is not None for act in acts.fields):
            for act in acts.fields:
                yield getattr(request, act.name).DESCRIPTOR.full_name, (body, act.name)


# Where each request, and each act of one, stands in a frame, by the full name of its message.
_PLACES: Final = dict(_places())
