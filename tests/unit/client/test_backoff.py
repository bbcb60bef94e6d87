"""How long the client waits before its next try."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidings.core.backoff import Backoff
from tidings_protocol import client_pb2 as pb


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_even_between_nothing_and_the_bound(attempt: int, dice: float) -> None:
    backoff = Backoff(0.5, 20.0, 2.0)
    bound = min(20.0, 0.5 * 2.0 ** min(attempt, 32))
    assert backoff.delay_s(attempt, lambda: dice) == dice * bound


def test_the_bounds_are_the_servers_and_what_it_leaves_out_stays_as_usual() -> None:
    usual = Backoff()
    assert Backoff.from_proto(pb.Backoff(base_ms=1500, max_ms=8000, factor=3)) == Backoff(1.5, 8.0, 3.0)
    assert Backoff.from_proto(pb.Backoff(max_ms=8000)) == Backoff(usual.base_s, 8.0, usual.factor)
    assert Backoff.from_proto(pb.Backoff(factor=0.5)) == usual
