"""The part of the model server that changes messages: edits, recalls, reactions, pins, streams; and what readers see.

Guarantees: what the contract says of changes (docs/protocol.md). A change is an entry; what it makes of its target is
kept at the target; pages show the present, and only the newest edit has its content, unless its target is shown too.
Does not know: windows, limits, roles.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidings_protocol import client_pb2 as pb

if TYPE_CHECKING:
    from tests.support.cluster.model_server import ModelServer, Room, Session

NAMED = 3  # users of a reaction who are named


@dataclass(slots=True)
class Target:
    """What changes made of one message. `reactions`: users by reaction, both in the order in which they came."""

    revision: int = 0
    edited_ms: int = 0
    recalled_by: str = ""
    pinned: bool = False
    streaming: bool = False
    parts: int = 0
    content_seq: int = 0  # the newest change that has the content
    reactions: dict[str, list[str]] = field(default_factory=dict)
    unannounced: list[tuple[bool, str, str]] = field(default_factory=list)  # it came, user, reaction

    def state(self, reader: str = "") -> pb.State:
        return pb.State(
            revision=self.revision,
            edited_ms=self.edited_ms,
            recalled_by=self.recalled_by,
            pinned=self.pinned,
            streaming=self.streaming,
            parts=self.parts,
            reactions=[
                pb.Reaction(reaction=reaction, count=len(users), users=users[:NAMED], mine=reader in users)
                for reaction, users in self.reactions.items()
            ],
        )


class Changes:
    """`gathering`: reactions are announced later, all at once, by `announce`."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self.gathering = False
        self.hidden: dict[str, set[tuple[str, int]]] = {}
        self.parts: list[pb.StreamPart] = []  # those that were taken

    def shown(
        self, room: Room, seq: int, reader: str, beside: Collection[int] = (), *, page: bool = True
    ) -> pb.Message:
        """An entry as this reader sees it now; `beside`: what is in the same page."""
        stored = room.messages[seq - 1]
        target_seq = stored.change.seq if stored.kind == pb.Message.CHANGE else seq
        if (room.id, target_seq) in self.hidden.get(reader, ()):
            return pb.Message(conversation=room.id, seq=seq)
        message = pb.Message()
        message.CopyFrom(stored)
        target = room.targets.get(target_seq)
        if target is None:
            return message
        message.state.CopyFrom(target.state(reader if page else ""))
        if stored.kind == pb.Message.CHANGE:
            act = stored.change.WhichOneof("act")
            if act in ("edit", "finish") and (target.content_seq != seq or target_seq in beside):
                if act == "edit":
                    message.change.edit.Clear()
                else:
                    message.change.finish.ClearField("text")
        elif target.recalled_by:
            message.ClearField("content")
        return message

    def change(
        self, user: str, asked: pb.Change, origin: Session | None = None
    ) -> tuple[pb.Message | None, pb.State, bool]:
        """The entry (None: it has none, or none yet), the state after it, and whether it was made before.

        Raises LookupError, PermissionError or IndexError (the part that is wanted).
        """
        room = self._server.room(asked.conversation)
        known = room.by_client_id.get((user, asked.client_id))
        if known is not None:
            return known, self._target(room, asked.seq).state(), True
        if not 0 < asked.seq <= room.head or room.messages[asked.seq - 1].kind != pb.Message.NORMAL:
            raise LookupError("there is no such message")
        if asked.WhichOneof("act") in ("edit", "finish") and room.messages[asked.seq - 1].sender != user:
            raise PermissionError("the message is not yours")
        target = self._target(room, asked.seq)
        if target.recalled_by:
            if asked.WhichOneof("act") == "recall":
                return None, target.state(), False
            raise PermissionError("the message is recalled")
        if asked.WhichOneof("act") in ("react", "unreact"):
            return self._react(room, user, asked, target, origin), target.state(), False
        entry = self._entry(room, user, asked.seq, asked.client_id)
        self._act(room, entry, asked, target)
        self._server.store(room, entry, origin)
        return entry, target.state(), False

    def announce(self) -> None:
        """What was gathered is told."""
        for room in list(self._server.rooms.values()):
            for seq, target in list(room.targets.items()):
                if target.unannounced:
                    self._announce(room, seq, target, None)

    def hide(self, user: str, conversation: str, seqs: Collection[int], through: int, origin: Session | None) -> None:
        gone = self.hidden.setdefault(user, set())
        gone |= {(conversation, seq) for seq in seqs}
        gone |= {(conversation, seq) for seq in range(1, through + 1)}
        told = pb.Hidden(conversation=conversation, seqs=seqs, through=through)
        self._server.tell(user, pb.ServerFrame(hidden=told), origin)

    # What a client asks

    def on_change(self, session: Session, asked: pb.Change) -> pb.ServerFrame:
        try:
            entry, state, duplicate = self.change(session.user, asked, session)
        except LookupError as error:
            if isinstance(error, IndexError):
                wanted = int(str(error))
                return pb.ServerFrame(error=pb.Error(code="BAD_REQUEST", message="a part is missing", next_part=wanted))
            return pb.ServerFrame(error=pb.Error(code="NOT_FOUND", message=str(error)))
        except PermissionError as error:
            return pb.ServerFrame(error=pb.Error(code="FORBIDDEN", message=str(error)))
        sent = pb.Sent(client_id=asked.client_id, conversation=asked.conversation, state=state, duplicate=duplicate)
        if entry is not None:
            sent.message_id, sent.seq, sent.time_ms = entry.message_id, entry.seq, entry.time_ms
            sent.number = self._server.number(session.user, asked.conversation, entry.seq)
        return pb.ServerFrame(sent=sent)

    def on_hide(self, session: Session, asked: pb.Hide) -> pb.ServerFrame:
        self.hide(session.user, asked.conversation, asked.seqs, asked.through, session)
        return pb.ServerFrame(ok=pb.Ok())

    def on_stream_part(self, session: Session, part: pb.StreamPart) -> pb.ServerFrame | None:
        room = self._server.room(part.conversation)
        target = self._target(room, part.seq)
        if not target.streaming:
            return pb.ServerFrame(error=pb.Error(code="BAD_REQUEST", message="this is no stream (any more)"))
        if part.part > target.parts + 1:
            wanted = target.parts + 1
            return pb.ServerFrame(error=pb.Error(code="BAD_REQUEST", message="too early", next_part=wanted))
        if part.part == target.parts + 1:
            target.parts += 1
            room.messages[part.seq - 1].content.text += part.text
            self.parts.append(part)
            for other in self._server.sessions:
                if other.user in room.members and other is not session:
                    other.push(pb.ServerFrame(stream_part=part))
        return None

    def on_reactors(self, _session: Session, asked: pb.ReactorsRequest) -> pb.ServerFrame:
        target = self._target(self._server.room(asked.conversation), asked.seq)
        found = [
            pb.ReactorPage.Reactor(user=user, reaction=reaction, time_ms=self._server.time_ms)
            for reaction, users in target.reactions.items()
            for user in users
            if asked.reaction in ("", reaction)
        ]
        begin = int(asked.after or 0)
        part = found[begin : begin + self._server.page_max]
        end = begin + len(part)
        return pb.ServerFrame(reactor_page=pb.ReactorPage(reactors=part, next=str(end), more=end < len(found)))

    def on_readers(self, _session: Session, asked: pb.ReadersRequest) -> pb.ServerFrame:
        room = self._server.room(asked.conversation)
        seqs = room.delivered if asked.delivered else room.read
        sender = room.messages[asked.seq - 1].sender
        users = sorted(user for user, seq in seqs.items() if seq >= asked.seq and user != sender)
        part = [user for user in users if user > asked.after][: self._server.page_max]
        more = bool(part) and part[-1] != users[-1]
        page = pb.ReaderPage(users=part, count=len(users), next=part[-1] if part else "", more=more)
        return pb.ServerFrame(reader_page=page)

    # Inside

    def begun(self, room: Room, message: pb.Message) -> None:
        """A message was sent: perhaps a stream."""
        if message.content.streaming:
            self._target(room, message.seq).streaming = True

    def _target(self, room: Room, seq: int) -> Target:
        return room.targets.setdefault(seq, Target())

    def _entry(self, room: Room, user: str, seq: int, client_id: str) -> pb.Message:
        self._server.time_ms += 1
        return self._server.entry(room, user, pb.Message.CHANGE, client_id, change=pb.Change(seq=seq))

    def _act(self, room: Room, entry: pb.Message, asked: pb.Change, target: Target) -> None:
        message = room.messages[asked.seq - 1]
        match asked.WhichOneof("act"):
            case "edit":
                target.edited_ms, target.content_seq = entry.time_ms, entry.seq
                kept = message.content.reply_to
                message.content.CopyFrom(asked.edit)
                message.content.reply_to = kept
                entry.change.edit.CopyFrom(asked.edit)
            case "recall":
                target.recalled_by, target.pinned, target.streaming = entry.sender, False, False
                target.reactions.clear()
                target.unannounced.clear()
                entry.change.recall.SetInParent()
            case "pin":
                target.pinned = asked.pin
                entry.change.pin = asked.pin
            case _:
                if not asked.finish.text and asked.finish.parts > target.parts:
                    raise IndexError(str(target.parts + 1))
                message.content.text = asked.finish.text or message.content.text
                target.streaming, target.content_seq = False, entry.seq
                entry.change.finish.parts = asked.finish.parts
                entry.change.finish.text = message.content.text
        target.revision = entry.seq

    def _react(
        self, room: Room, user: str, asked: pb.Change, target: Target, origin: Session | None
    ) -> pb.Message | None:
        came = asked.WhichOneof("act") == "react"
        reaction = asked.react if came else asked.unreact
        users = target.reactions.get(reaction, [])
        if came == (user in users):
            return None
        if came:
            target.reactions.setdefault(reaction, []).append(user)
        else:
            users.remove(user)
            if not users:
                del target.reactions[reaction]
        target.unannounced.append((came, user, reaction))
        return None if self.gathering else self._announce(room, asked.seq, target, origin)

    def _announce(self, room: Room, seq: int, target: Target, origin: Session | None) -> pb.Message:
        entry = self._entry(room, target.unannounced[-1][1], seq, "")
        reacted = entry.change.reacted
        reacted.SetInParent()
        for came, user, reaction in target.unannounced:
            (reacted.added if came else reacted.removed).add(user=user, reaction=reaction)
        target.unannounced.clear()
        target.revision = entry.seq
        self._server.store(room, entry, origin)
        return entry
