"""What every repository of reactions promises."""

from __future__ import annotations

import asyncio

from services.storage.repository.contract import Repository
from services.storage.repository.reactions import (
    AheadSet,
    ReactionCount,
    ReactionOrder,
    ReactionSpan,
    ReactionWrite,
    Reactor,
    StoredReaction,
)

GROUP = "g:1"
HEART, THUMB, SAD = "❤", "👍", "sad face"


def reaction(
    user: str, given: str, place: int, seq: int = 7, since: int = 0, conversation: str = GROUP
) -> StoredReaction:
    return StoredReaction(conversation, seq, user, given, place, since or place, (f"{user} {place}",))


def new(*reactions: StoredReaction) -> list[ReactionWrite]:
    """They are the first that is known of each."""
    return [ReactionWrite(each) for each in reactions]


def gone(before: StoredReaction, act: str = "gone") -> StoredReaction:
    return before._replace(place=0, since=0, acts=(*before.acts, act), gone=True)


ALL = [
    reaction("ann", THUMB, 10),
    reaction("bob", HEART, 20),
    reaction("cid", THUMB, 30, since=10),
    reaction("ann", SAD, 40),
    reaction("dan", THUMB, 50, since=10),
    reaction("eve", THUMB, 60, since=10),
]
ELSEWHERE = [reaction("ann", THUMB, 70, seq=8), reaction("ann", HEART, 80, conversation="d:ann|bob")]


async def filled(repository: Repository) -> None:
    assert await repository.reactions.write(new(*ALL, *ELSEWHERE))


async def test_the_reactions_of_some_users_are_found_by_user_and_message(repository: Repository) -> None:
    await filled(repository)
    ann, bob, eve = Reactor(GROUP, 7, "ann"), Reactor(GROUP, 7, "bob"), Reactor(GROUP, 8, "eve")
    far = Reactor("d:ann|bob", 7, "ann")
    found = await repository.reactions.find([ann, bob, eve, far, Reactor(GROUP, 9, "ann")])
    assert {reactor: sorted(given) for reactor, given in found.items()} == {
        ann: sorted([ALL[0], ALL[3]]),
        bob: [ALL[1]],
        far: [ELSEWHERE[1]],
    }
    assert await repository.reactions.find([]) == {}


async def test_one_users_reactions_to_many_messages_are_found_at_once(repository: Repository) -> None:
    await repository.reactions.write(new(*(reaction("ann", THUMB, seq, seq=seq) for seq in range(1, 300, 2))))
    found = await repository.reactions.find([Reactor(GROUP, seq, "ann") for seq in range(1, 300)])
    assert sorted(reactor.seq for reactor in found) == list(range(1, 300, 2))


async def test_those_of_many_messages_with_other_users_each_are_found_at_once(repository: Repository) -> None:
    wanted = [Reactor(GROUP, seq, f"u{seq}") for seq in range(1, 251)]
    await repository.reactions.write(new(*(reaction(each.user, THUMB, each.seq, seq=each.seq) for each in wanted)))
    assert set(await repository.reactions.find(wanted)) == set(wanted)


async def test_a_tally_counts_and_knows_who_was_first(repository: Repository) -> None:
    await filled(repository)
    found = await repository.reactions.tallies([(GROUP, 7), (GROUP, 8), ("d:ann|bob", 7), ("g:2", 7)])
    assert found == {
        (GROUP, 7): [
            ReactionCount(THUMB, 4, 10, ("ann", "cid", "dan")),
            ReactionCount(HEART, 1, 20, ("bob",)),
            ReactionCount(SAD, 1, 40, ("ann",)),
        ],
        (GROUP, 8): [ReactionCount(THUMB, 1, 70, ("ann",))],
        ("d:ann|bob", 7): [ReactionCount(HEART, 1, 80, ("ann",))],
    }
    assert await repository.reactions.tallies([]) == {}


async def test_a_reaction_keeps_its_place_when_whoever_gave_it_first_takes_it_back(repository: Repository) -> None:
    await filled(repository)
    await repository.reactions.write([ReactionWrite(gone(ALL[0]), ALL[0].acts)])
    (first, second, _) = (await repository.reactions.tallies([(GROUP, 7)]))[GROUP, 7]
    assert first == ReactionCount(THUMB, 3, 10, ("cid", "dan", "eve"))
    assert second.reaction == HEART


async def test_what_is_gone_is_found_and_counted_nowhere(repository: Repository) -> None:
    await filled(repository)
    bob = Reactor(GROUP, 7, "bob")
    assert await repository.reactions.write([ReactionWrite(gone(ALL[1]), ALL[1].acts)])
    assert (await repository.reactions.find([bob]))[bob] == [gone(ALL[1])]
    assert ALL[1] not in await repository.reactions.page(ReactionSpan(GROUP, 7))
    assert await repository.reactions.page(ReactionSpan(GROUP, 7, HEART)) == []
    assert HEART not in {each.reaction for each in (await repository.reactions.tallies([(GROUP, 7)]))[GROUP, 7]}
    back = reaction("bob", HEART, 99)
    assert await repository.reactions.write([ReactionWrite(back, gone(ALL[1]).acts)])
    assert (await repository.reactions.find([bob]))[bob] == [back]
    assert (await repository.reactions.page(ReactionSpan(GROUP, 7)))[-1] == back


async def test_a_write_needs_what_it_expects_and_the_others_are_done(repository: Repository) -> None:
    await filled(repository)
    ann, bob = reaction("zoe", THUMB, 100), reaction("bob", HEART, 101)
    assert not await repository.reactions.write([*new(bob), *new(ann)])
    assert not await repository.reactions.write([ReactionWrite(bob, ("another act",))])
    found = await repository.reactions.find([Reactor(GROUP, 7, "bob"), Reactor(GROUP, 7, "zoe")])
    assert found == {Reactor(GROUP, 7, "bob"): [ALL[1]], Reactor(GROUP, 7, "zoe"): [ann]}


async def test_of_two_writes_from_the_same_acts_one_wins(repository: Repository) -> None:
    await filled(repository)
    writes = [ReactionWrite(gone(ALL[1], act), ALL[1].acts) for act in ("x", "y")]
    done = await asyncio.gather(*(repository.reactions.write([write]) for write in writes))
    assert sorted(done) == [False, True]
    first = [ReactionWrite(reaction("new", THUMB, place)) for place in (1, 2)]
    done = await asyncio.gather(*(repository.reactions.write([write]) for write in first))
    assert sorted(done) == [False, True]


async def test_a_page_is_ascending_and_goes_on_behind_the_last_one(repository: Repository) -> None:
    await filled(repository)
    seen: list[StoredReaction] = []
    span = ReactionSpan(GROUP, 7, limit=4)
    while page := await repository.reactions.page(span):
        assert len(page) <= 4
        seen += page
        span = span._replace(after=page[-1].order)
    assert seen == ALL


async def test_a_page_of_one_reaction_has_no_other(repository: Repository) -> None:
    await filled(repository)
    page = await repository.reactions.page(ReactionSpan(GROUP, 7, THUMB, ALL[0].order, 2))
    assert page == [ALL[2], ALL[4]]
    assert await repository.reactions.page(ReactionSpan(GROUP, 7, "none")) == []
    assert await repository.reactions.page(ReactionSpan(GROUP, 9)) == []


async def test_reactions_with_one_place_are_told_apart(repository: Repository) -> None:
    """Two nodes may have stored them in the same microsecond."""
    both = [reaction("ann", THUMB, 5), reaction("bob", HEART, 5)]
    await repository.reactions.write(new(*both))
    (first,) = await repository.reactions.page(ReactionSpan(GROUP, 7, limit=1))
    (second,) = await repository.reactions.page(ReactionSpan(GROUP, 7, limit=1, after=first.order))
    assert [first, second] == both
    assert await repository.reactions.page(ReactionSpan(GROUP, 7, after=ReactionOrder(5, "bob", HEART))) == []


async def test_the_newest_come_first_if_they_are_asked_for(repository: Repository) -> None:
    await filled(repository)
    assert await repository.reactions.page(ReactionSpan(GROUP, 7, limit=2, newest=True)) == [ALL[5], ALL[4]]


async def test_the_set_of_a_message_is_removed_in_steps(repository: Repository) -> None:
    await filled(repository)
    assert await repository.reactions.remove(GROUP, 7, 8, 4) == 4
    assert await repository.reactions.remove(GROUP, 7, 8, 4) == 2
    assert await repository.reactions.remove(GROUP, 7, 8, 4) == 0
    assert await repository.reactions.page(ReactionSpan(GROUP, 7)) == []
    assert await repository.reactions.page(ReactionSpan(GROUP, 8)) == [ELSEWHERE[0]]


async def test_what_is_gone_is_removed_too(repository: Repository) -> None:
    await filled(repository)
    await repository.reactions.write([ReactionWrite(gone(ALL[1]), ALL[1].acts)])
    assert await repository.reactions.remove(GROUP, 7, 8, 100) == 6
    assert await repository.reactions.find([Reactor(GROUP, 7, "bob")]) == {}


async def test_what_lies_below_a_seq_is_removed(repository: Repository) -> None:
    await filled(repository)
    assert await repository.reactions.remove(GROUP, 0, 8, 1000) == 6
    left = await repository.reactions.tallies([(GROUP, 7), (GROUP, 8), ("d:ann|bob", 7)])
    assert set(left) == {(GROUP, 8), ("d:ann|bob", 7)}


async def test_a_set_that_is_ahead_of_the_log_is_marked_until_it_is_not(repository: Repository) -> None:
    first, second = AheadSet(GROUP, 7, "ann"), AheadSet(GROUP, 12, "bob")
    other = AheadSet("d:ann|bob", 100, "ann")
    await repository.reactions.mark([first, second, other], [])
    await repository.reactions.mark([AheadSet(GROUP, 7, "cid")], [])
    assert await repository.reactions.ahead("", 0, 10) == [other, first, second]
    assert await repository.reactions.ahead("", 0, 2) == [other, first]
    assert await repository.reactions.ahead(GROUP, 7, 10) == [second]
    await repository.reactions.mark([], [first.target, (GROUP, 99)])
    assert await repository.reactions.ahead("", 0, 10) == [other, second]
