"""A logic node as a process: what stops it before anything of it was begun."""

from __future__ import annotations

import socket

import pytest

from services.common.lifecycle import Lifecycle
from services.logic.app import app
from services.logic.settings import LogicSettings


async def test_an_ops_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = LogicSettings(node="logic-0", ops_listen=address)
        with pytest.raises(OSError, match=address.rpartition(":")[2]):
            async with app(settings, Lifecycle()):
                raise AssertionError("it started all the same")
