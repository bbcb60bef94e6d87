"""What readers have given to what they are shown."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.reactions.mine import mark_mine, mine_of, mine_of_each, with_mine
from services.storage.repository.memory import Database
from services.storage.repository.reactions import ReactionWrite, StoredReaction
from services.storage.repository.records import StoredMessage
from tidings_protocol import client_pb2

LIKED = client_pb2.State(reactions=[client_pb2.Reaction(reaction=each, count=1) for each in ("+", "-")])


def message(seq: int, *, liked: bool = True) -> StoredMessage:
    state = pb.FoldedState(state=LIKED).SerializeToString() if liked else b""
    return StoredMessage("g:1", seq, "ann", f"x{seq}", 1000, b"", state=state)


async def database() -> Database:
    made = Database()
    given = [StoredReaction("g:1", seq, user, "+", seq, seq) for seq in (1, 2, 3) for user in ("ann", "bob")]
    given += [StoredReaction("g:1", 2, "ann", "-", 9, 9), StoredReaction("g:1", 2, "ann", "!", gone=True)]
    await made.repository().reactions.write(list(map(ReactionWrite, given)))
    return made


async def test_a_reader_has_given_what_is_theirs() -> None:
    reactions = (await database()).repository().reactions
    assert await mine_of(reactions, "ann", [message(1), message(2), message(3, liked=False), message(4)]) == {
        ("g:1", 1): frozenset({"+"}),
        ("g:1", 2): frozenset({"+", "-"}),
    }


async def test_several_readers_are_asked_about_with_one_read() -> None:
    made = await database()
    reactions = made.repository().reactions
    before = made.faults.commands
    ann, bob, nobody = await mine_of_each(
        reactions, [("ann", [message(2)]), ("bob", [message(2), message(3)]), ("cid", [message(2)])]
    )
    assert made.faults.commands == before + 1
    assert ann == {("g:1", 2): frozenset({"+", "-"})}
    assert bob == {("g:1", 2): frozenset({"+"}), ("g:1", 3): frozenset({"+"})}
    assert nobody == {}


async def test_messages_without_reactions_are_not_asked_about() -> None:
    made = await database()
    before = made.faults.commands
    assert await mine_of(made.repository().reactions, "ann", [message(1, liked=False)]) == {}
    assert made.faults.commands == before


def test_a_readers_own_are_marked_in_a_state_and_in_a_message() -> None:
    state = client_pb2.State()
    state.CopyFrom(LIKED)
    mark_mine(state, {"-", "?"})
    assert [each.mine for each in state.reactions] == [False, True]
    encoded = client_pb2.Message(seq=7, state=LIKED).SerializeToString()
    assert client_pb2.Message.FromString(with_mine(encoded, {"-"})) == client_pb2.Message(seq=7, state=state)
    assert with_mine(encoded, ()) == encoded
