"""Counts, and who was first."""

from __future__ import annotations

from services.storage.reactions.tally import Tally
from services.storage.repository.reactions import ReactionCount

TARGET = ("g:1", 7)


def shown(tally: Tally) -> list[tuple[str, int, list[str]]]:
    return [(each.reaction, each.count, list(each.users)) for each in tally.shown()]


def test_the_first_three_are_told_and_all_are_counted() -> None:
    tally = Tally(TARGET)
    for user in ("ann", "bob", "cid", "dan"):
        tally.add(user, "+", 1000)
    assert shown(tally) == [("+", 4, ["ann", "bob", "cid"])]


def test_each_has_a_place_of_its_own_also_within_one_moment() -> None:
    tally = Tally(TARGET)
    assert tally.add("ann", "+", 1000) == (1000, 1000)
    assert tally.add("bob", "+", 1000) == (1001, 1000)
    assert tally.add("cid", "-", 900) == (1002, 1002), "the clock went back"
    assert tally.add("dan", "-", 5000) == (5000, 1002)


def test_reactions_stand_in_the_order_in_which_each_first_came() -> None:
    tally = Tally(TARGET)
    for user, reaction in (("ann", "+"), ("bob", "-"), ("cid", "+")):
        tally.add(user, reaction, 1000)
    tally.remove("ann", "+")
    assert shown(tally) == [("+", 1, ["cid"]), ("-", 1, ["bob"])]


def test_what_was_gone_and_comes_back_stands_at_the_end() -> None:
    tally = Tally(TARGET)
    tally.add("ann", "+", 1000)
    tally.add("bob", "-", 1000)
    tally.remove("ann", "+")
    assert "+" not in tally
    assert tally.add("ann", "+", 2000) == (2000, 2000)
    assert [each.reaction for each in tally.shown()] == ["-", "+"]


def test_when_one_of_the_first_goes_the_others_are_to_be_read() -> None:
    tally = Tally(TARGET, [ReactionCount("+", 5, 10, ("ann", "bob", "cid")), ReactionCount("-", 1, 20, ("ann",))])
    tally.remove("eve", "+")
    assert tally.lacking == []
    tally.remove("bob", "+")
    assert tally.lacking == ["+"]
    tally.add("fay", "+", 50)
    assert shown(tally)[0] == ("+", 4, ["ann", "cid"]), "who comes last is not among the first"
    tally.learn("+", ["ann", "cid", "dan"])
    assert tally.lacking == []
    assert shown(tally)[0] == ("+", 4, ["ann", "cid", "dan"])


def test_a_tally_that_was_read_goes_on_behind_what_it_has() -> None:
    tally = Tally(TARGET, [ReactionCount("+", 2, 5000, ("ann", "bob"))])
    assert tally.add("cid", "+", 10) == (5001, 5000)
    assert len(tally) == 1


def test_to_remove_what_is_not_known_changes_nothing() -> None:
    tally = Tally(TARGET)
    tally.remove("ann", "+")
    assert shown(tally) == []
