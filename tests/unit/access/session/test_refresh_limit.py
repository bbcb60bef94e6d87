"""New tokens: a few at once, then one in a while."""

from __future__ import annotations

from services.access.session.refresh_limit import REFRESH_EVERY_S, REFRESHES_BURST, RefreshLimit


def test_a_few_new_tokens_may_come_at_once_and_then_one_in_a_while() -> None:
    limit = RefreshLimit()
    assert [limit.take(100.0) for _ in range(REFRESHES_BURST)] == [0.0] * REFRESHES_BURST
    wait_s = limit.take(100.0)
    assert 0 < wait_s <= REFRESH_EVERY_S
    assert limit.take(100.0 + wait_s) == 0.0
