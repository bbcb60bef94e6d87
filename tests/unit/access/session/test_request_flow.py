"""The flow of requests: what is under way, what is held, and when reading stops and goes on."""

from __future__ import annotations

from services.access.session.request_flow import RequestFlow
from services.access.session.session import HOLD, HOLD_AND_STOP, NOTHING, RESUME, SessionPolicy
from tidings_protocol.operations import Size

POLICY = SessionPolicy(unanswered_max=4, pages_max=1, held_max=2)


def test_it_is_full_by_requests_or_by_pages() -> None:
    flow = RequestFlow(POLICY)
    full = []
    for size in (Size.PAGE, Size.SMALL, Size.SMALL, Size.SMALL):
        flow.begin(size)
        full.append(flow.full)
    assert full == [True] * 4, "one page is all that may be under way"
    flow.end(Size.PAGE)
    assert not flow.full
    flow.begin(Size.SMALL)
    assert flow.unanswered == 4
    full.append(flow.full)
    assert full[-1]


def test_reading_stops_once_when_enough_is_held_by_number_or_by_bytes() -> None:
    flow = RequestFlow(POLICY)
    assert [flow.hold(10, bytes_max=1000) for _ in range(3)] == [HOLD, HOLD_AND_STOP, HOLD]
    assert RequestFlow(POLICY).hold(1000, bytes_max=1000) == HOLD_AND_STOP
    assert (flow.held, flow.held_bytes) == (3, 30)


def test_what_is_held_is_taken_one_by_one() -> None:
    flow = RequestFlow(POLICY)
    flow.hold(10, bytes_max=1000)
    assert flow.take(10)
    assert not flow.take(10)
    assert (flow.held, flow.held_bytes) == (0, 0)


def test_reading_goes_on_when_nothing_is_held_and_half_of_the_places_are_free() -> None:
    flow = RequestFlow(POLICY)
    assert flow.resume() == NOTHING, "it was not stopped"
    for _ in range(3):
        flow.begin(Size.SMALL)
    flow.hold(10, bytes_max=1)
    assert not flow.stop(), "it is stopped"
    assert flow.resume() == NOTHING
    flow.take(10)
    assert flow.resume() == NOTHING
    flow.end(Size.SMALL)
    assert flow.resume() == RESUME
    assert flow.stop()
