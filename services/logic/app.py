"""A logic node as a process: etcd, Kafka and gRPC for `logic_node`, and the ops address before all else.

    ops ─▶ etcd, Kafka, calls, certificates (common/node.py) ─▶ the node (node.py, wiring.py)

Guarantees: /healthz and /debug/state answer while the node still starts. Certificates are renewed while it runs.

Does not know: what a logic node consists of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.lifecycle import Lifecycle
from services.common.node import NodeShell
from services.logic.node import logic_node
from services.logic.settings import LogicSettings
from services.logic.wiring import LogicPorts


@asynccontextmanager
async def app(settings: LogicSettings, life: Lifecycle) -> AsyncIterator[None]:
    """The node serves while this is entered."""
    async with NodeShell(settings, life) as shell:
        ports = await shell.connect(LogicPorts, kafka=True)
        node = await shell.enter(logic_node(settings, life, ports))
        shell.show(node.debug_state)
        yield
