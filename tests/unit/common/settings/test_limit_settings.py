"""The limits that access nodes tell clients are those that logic nodes keep."""

from __future__ import annotations

from services.access.settings import AccessSettings
from services.common.settings.limits import LimitSettings
from services.common.settings.node import NodeSettings
from services.logic.settings import LogicSettings


def test_what_both_sides_have_to_say_of_clients_is_said_once() -> None:
    own = LimitSettings.model_fields.keys() - NodeSettings.model_fields.keys()
    assert own == {"content_bytes_max", "edit_window_s", "recall_window_s", "profiles_by"}
    both = AccessSettings.model_fields.keys() & LogicSettings.model_fields.keys() - NodeSettings.model_fields.keys()
    assert both == own, "a setting that access and logic nodes share is declared for both, not in each"
    for name in own:
        assert repr(AccessSettings.model_fields[name]) == repr(LogicSettings.model_fields[name])
