"""What later changes made of a message, as the application sees it."""

from __future__ import annotations

from dataclasses import dataclass

from tidings_protocol import client_pb2 as pb

# By whom something is recalled whose time is over; no user is called so.
EXPIRY = "~expiry"


@dataclass(frozen=True, slots=True)
class Reaction:
    """`users`: the first three of them. `mine`: this user is one of them, as far as this device knows."""

    reaction: str
    count: int
    users: tuple[str, ...] = ()
    mine: bool = False

    @classmethod
    def from_proto(cls, reaction: pb.Reaction) -> Reaction:
        return cls(reaction.reaction, reaction.count, tuple(reaction.users), reaction.mine)

    def to_proto(self) -> pb.Reaction:
        return pb.Reaction(reaction=self.reaction, count=self.count, users=self.users, mine=self.mine)


@dataclass(frozen=True, slots=True)
class State:
    """What changes made of a message.

    `revision`: the seq of the newest change that is in it; 0: none. `recalled_by`: empty unless it is recalled;
    `~expiry` if its time is over. `reactions`: in the order in which each first came. `parts`: of a stream, how many
    are in its text.
    """

    revision: int = 0
    edited_ms: int = 0
    recalled_by: str = ""
    reactions: tuple[Reaction, ...] = ()
    pinned: bool = False
    streaming: bool = False
    parts: int = 0

    @classmethod
    def from_proto(cls, state: pb.State) -> State:
        return cls(
            state.revision,
            state.edited_ms,
            state.recalled_by,
            tuple(map(Reaction.from_proto, state.reactions)),
            state.pinned,
            state.streaming,
            state.parts,
        )

    def to_proto(self) -> pb.State:
        return pb.State(
            revision=self.revision,
            edited_ms=self.edited_ms,
            recalled_by=self.recalled_by,
            reactions=[reaction.to_proto() for reaction in self.reactions],
            pinned=self.pinned,
            streaming=self.streaming,
            parts=self.parts,
        )


UNCHANGED = State()
