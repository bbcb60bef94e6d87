"""`python -m tests.deploy.newer_node services.access`: a node of a version that does not exist yet.

It says one thing more than this version in everything that leaves it: in each call and answer between nodes, in each
record for Kafka, in its own record in etcd. A node whose name ends in 0 stays what it is, so that a stack is one of old
and new nodes together.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from services.common.bus.contract import Record
from services.common.bus.kafka.bus import KafkaBus
from services.common.registry.contract import NodeRecord

# Field 1000, six bytes: known to nobody.
UNKNOWN = b"\xc2\x3e\x06future"


def more(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda message: serialize(message) + UNKNOWN


def become_newer() -> None:
    _calls_say_more()
    _records_say_more()


def _calls_say_more() -> None:
    handler, channel = grpc.unary_unary_rpc_method_handler, grpc.aio._channel.Channel  # type: ignore[attr-defined]
    call = channel.unary_unary

    def newer_handler(behavior: Any, request_deserializer: Any, response_serializer: Callable[[Any], bytes]) -> Any:
        return handler(behavior, request_deserializer, more(response_serializer))

    def newer_call(self: Any, method: str, request_serializer: Callable[[Any], bytes], **rest: Any) -> Any:
        return call(self, method, request_serializer=more(request_serializer), **rest)

    grpc.unary_unary_rpc_method_handler = newer_handler  # type: ignore[assignment]
    channel.unary_unary = newer_call


def _records_say_more() -> None:
    publish, to_json = KafkaBus.publish, NodeRecord.to_json

    async def newer_publish(self: KafkaBus, records: Sequence[Record]) -> None:
        await publish(self, [record._replace(value=record.value + UNKNOWN) for record in records])

    def newer_json(self: NodeRecord) -> str:
        return json.dumps({**json.loads(to_json(self)), "of_the_future": True})

    KafkaBus.publish = newer_publish  # type: ignore[method-assign]
    NodeRecord.to_json = newer_json  # type: ignore[method-assign]


def main() -> None:
    service = sys.argv.pop(1)
    if not os.environ.get("TIDINGS_NODE", "").endswith("0"):
        become_newer()
    runpy.run_module(service, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
