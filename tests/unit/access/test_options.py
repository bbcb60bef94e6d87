"""What the rooms of a node are told of its settings."""

from __future__ import annotations

import pytest

from services.access.options import handshake_options, request_options
from services.access.settings import AccessSettings
from services.common.settings.sources import load

GIVEN = {"TIDINGS_NODE": "access-0", "TIDINGS_TOKEN_SECRET_FILE": "/secret"}


def test_a_call_can_hold_a_batch_of_the_largest_requests() -> None:
    settings = load(AccessSettings, GIVEN)
    assert request_options(settings).request_batch_max * settings.frame_bytes_max <= 16 * 1024 * 1024
    assert settings.batch_max * settings.content_bytes_max <= 14 * 1024 * 1024


def test_a_client_is_told_for_how_long_it_may_edit_and_recall_and_what_there_is() -> None:
    given = {"TIDINGS_EDIT_WINDOW_S": "60", "TIDINGS_RECALL_WINDOW_S": "0"}
    limits = handshake_options(load(AccessSettings, GIVEN | given)).limits
    assert (limits.edit_window_s, limits.recall_window_s) == (60, 0)
    assert (limits.media_bytes_max, limits.search, limits.streams, limits.own_profile) == (0, False, True, True)


@pytest.mark.parametrize(("rate", "told"), [(0.0, 0), (0.4, 1), (10.0, 10)])
def test_a_rate_below_one_is_not_told_as_none(rate: float, told: int) -> None:
    settings = load(AccessSettings, GIVEN | {"TIDINGS_SENDS_PER_S": str(rate)})
    assert handshake_options(settings).limits.sends_per_s == told


@pytest.mark.parametrize(("who", "told"), [("user", True), ("backend", False)])
def test_a_welcome_says_whether_profiles_are_ones_own(who: str, told: bool) -> None:
    settings = load(AccessSettings, GIVEN | {"TIDINGS_PROFILES_BY": who})
    assert handshake_options(settings).limits.own_profile is told
