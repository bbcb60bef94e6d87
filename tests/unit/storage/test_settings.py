"""Settings of a storage node."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.storage.limits import Limits
from services.storage.settings import StorageSettings
from services.storage.upkeep.retention import RetentionPolicy
from services.storage.wiring import limits_of, policy_of


def test_settings_become_limits_and_policy() -> None:
    settings = StorageSettings(node="storage-0", message_retention_days=3, inbox_lanes=7)
    assert limits_of(settings) == Limits(inbox_lanes=7)
    assert policy_of(settings) == RetentionPolicy(message_days=3)


def test_budgets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValidationError, match="not even one try would fit: lower mongodb_timeout_s, or raise store_budget_s"
    ):
        StorageSettings(node="storage-0", mongodb_timeout_s=1.9)
    with pytest.raises(
        ValidationError, match="the answer would come too late: lower store_budget_s, or raise rpc_timeout_s"
    ):
        StorageSettings(node="storage-0", rpc_timeout_s=1.0)
