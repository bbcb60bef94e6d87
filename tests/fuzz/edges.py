"""Targets beside those of the clients' frames: what reads the bytes of strangers at the other ports of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from services.common.telemetry.health import Health
from services.common.telemetry.ops import Answer, OpsServer, request_of

PROFILE: Final = "/debug/profile"  # takes seconds, by design


def ops(data: bytes) -> None:
    """Whatever comes to the ops port gets an answer of ours."""
    server = OpsServer("127.0.0.1:0", Health(), lambda: {"state": "ready"})
    asked = request_of(data)
    if isinstance(asked, Answer) or asked.path != PROFILE:
        answer = asyncio.run(server.answer(data))
        assert answer.status.value in {200, 400, 404, 405, 503}, answer
        assert b"Traceback" not in answer.body


EDGES: Final[Mapping[str, Callable[[bytes], None]]] = {"ops": ops}
EDGE_SEEDS: Final[Mapping[str, list[bytes]]] = {
    "ops": [
        b"GET /readyz HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n",
        b"GET //[ HTTP/1.1\r\n\r\n",
        b"GET /healthz?seconds=%ff&a;b HTTP/1.0\r\n\xff:\xff\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=2.0.0; q=\xff\r\n\r\n",
    ],
}
