"""The settings of logic nodes are checked against each other."""

from __future__ import annotations

import pytest

from services.common.settings.sources import SettingsError, load
from services.logic.settings import LogicSettings


def test_the_defaults_are_those_of_the_protocol() -> None:
    settings = load(LogicSettings, {"TIDINGS_NODE": "logic-0"})
    assert settings.large_group_threshold == 200
    assert settings.group_members_max == 100_000
    assert settings.devices_per_user_max == 100
    assert settings.content_bytes_max == 32 * 1024
    assert settings.page_bytes_max == 128 * 1024
    assert settings.receipt_interval_ms == 1000


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"TIDINGS_PUBLISH_WAIT_MS": "2000"}, "keep publish_wait_ms below rpc_timeout_s"),
        ({"TIDINGS_HOOK_URL": "http://h/", "TIDINGS_HOOK_TIMEOUT_MS": "1000"}, "keep hook_timeout_ms below half"),
        ({"TIDINGS_HOOK_URL": "ftp://h/"}, "TIDINGS_HOOK_URL"),
        ({"TIDINGS_HOOK_WHEN_AWAY": "ignore"}, "TIDINGS_HOOK_WHEN_AWAY"),
    ],
)
def test_settings_that_do_not_fit_together_stop_the_start(variables: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(LogicSettings, {"TIDINGS_NODE": "logic-0", **variables})


def test_the_time_limit_of_a_hook_does_not_matter_without_one() -> None:
    load(LogicSettings, {"TIDINGS_NODE": "logic-0", "TIDINGS_HOOK_TIMEOUT_MS": "1000"})
