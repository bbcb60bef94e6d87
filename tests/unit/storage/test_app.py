"""A storage node as a process: what it waits for."""

from __future__ import annotations

import pytest

from services.common.lifecycle import Lifecycle
from services.common.telemetry.health import Health
from services.storage.app import AWAY, _until_prepared
from tidings_protocol.errors import Unavailable


async def test_a_node_that_is_stopped_before_mongodb_answers_says_what_to_check() -> None:
    life, health = Lifecycle(), Health()
    life.request_stop()

    async def away() -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="TIDINGS_MONGODB_URI"):
        await _until_prepared(away, health, life)
    assert health.failed["mongodb"] == AWAY
