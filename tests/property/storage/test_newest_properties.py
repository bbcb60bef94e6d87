"""Which login of a device is the newest, whatever comes in whatever order, how often, and in how many batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.repository.records import SessionDocument
from services.storage.sessions.newest import ATTEMPT_MS, LATE_MS, Login, decide_together

# Per call: the attempt (a login has one, and its repeats too), when it began; and where batches end.
Calls = list[tuple[int, int, bool]]


def opening(attempt: int, since_ms: int, *, numbered: bool) -> Login:
    document = SessionDocument(
        "ann", "phone", f"s{attempt}", boot_id="boot", since_ms=since_ms, attempt=attempt if numbered else 0
    )
    return Login(document, 1, frozenset({"boot"}))


def handled(calls: Calls, *, numbered: bool) -> tuple[SessionDocument, dict[str, set[str]]]:
    """The session that is there in the end; for each that was welcomed, whom it was told to end."""
    present: list[SessionDocument] = []
    welcomed: dict[str, set[str]] = {}
    batch: dict[int, Login] = {}
    for index, (attempt, since_ms, ends) in enumerate(calls):
        batch[index] = opening(attempt, since_ms, numbered=numbered)
        if not ends and index < len(calls) - 1:
            continue
        verdict = decide_together(batch, present, 0)
        assert len(verdict.opened) + len(verdict.refused) == len(batch)
        if verdict.put is not None:
            put = verdict.put.document
            assert {batch[each].session.session for each in verdict.opened} == {put.session}
            welcomed.setdefault(put.session, set()).update(each.session for each in put.replaced)
            present = [put]
        batch = {}
    [left] = present
    return left, welcomed


starts = st.integers(0, ATTEMPT_MS)


@given(st.lists(st.tuples(st.integers(1, 6), starts, st.booleans()), min_size=1, max_size=40))
def test_within_a_minute_the_highest_attempt_is_in_and_has_ended_every_other_one_that_was_welcomed(
    calls: Calls,
) -> None:
    left, welcomed = handled(calls, numbered=True)
    assert left.attempt == max(attempt for attempt, _, _ in calls)
    ended = {session for told in welcomed.values() for session in told}
    assert set(welcomed) - ended == {left.session}


@given(st.lists(st.tuples(st.integers(1, 6), starts, st.booleans()), min_size=1, max_size=40))
def test_without_attempts_one_is_in_and_has_ended_every_other_one_and_no_repeat_takes_its_place(calls: Calls) -> None:
    left, welcomed = handled(calls, numbered=False)
    ended = {session for told in welcomed.values() for session in told}
    assert set(welcomed) - ended == {left.session}
    firsts = list(dict.fromkeys(attempt for attempt, _, _ in calls))
    assert left.session == f"s{firsts[-1]}"


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1), st.integers(-10 * LATE_MS, 10 * LATE_MS))
def test_no_attempt_and_no_clock_keeps_a_device_out_for_longer_than_a_minute(
    before: int, now: int, later_ms: int
) -> None:
    """By the clocks of the nodes that took the two logins; one that is wrong by more than ten minutes counts for
    nothing."""
    present = opening(before, 0, numbered=True).session
    verdict = decide_together({0: opening(now, later_ms, numbered=True)}, [present], 0)
    assert bool(verdict.refused) == (now < before and -LATE_MS <= later_ms <= ATTEMPT_MS)
