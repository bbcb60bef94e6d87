"""The cluster as the command sees it: its membership and rings from etcd, and the operator's calls on a logic node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import structlog

from protos.tidings.internal.v1 import admin_pb2_grpc
from services.common.cluster import Cluster
from services.common.rpc import Unreachable, tls_of
from services.common.rpc.peers import open_channel
from services.common.rpc.translate import error_from
from tidings_protocol.errors import Forbidden, TidingsError, Unauthenticated
from tools.cli.failure import Failure
from tools.cli.target import Target

ETCD_S = 5.0
CALL_S = 15.0

Answer = TypeVar("Answer")


def run(action: Coroutine[Any, Any, Answer]) -> Answer:
    """Goes from the command's world into asyncio's. What a node refused becomes a Failure."""
    # The services log what they do; a command tells its user what matters, in its own words.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return asyncio.run(action)
    except (Unauthenticated, Forbidden) as error:
        raise Failure(_sentence(error), "Give the right operator's token with --operator-token.") from error
    except TidingsError as error:
        raise Failure(_sentence(error)) from error


def _sentence(error: TidingsError) -> str:
    return f"{error.message[:1].upper()}{error.message[1:].rstrip('.')}."


@asynccontextmanager
async def view(target: Target) -> AsyncIterator[Cluster]:
    """The membership, followed while it is entered. Raises Failure when etcd does not answer."""
    from services.common.registry.etcd import EtcdRegistry
    from services.common.registry.etcd_tls import etcd_tls_of

    entered = False
    tls = etcd_tls_of(target.security())
    try:
        async with (
            asyncio.timeout(ETCD_S) as limit,
            EtcdRegistry(_endpoints(target), target.cluster, tls=tls) as registry,
            Cluster(registry) as cluster,
        ):
            limit.reschedule(None)
            entered = True
            yield cluster
    except TimeoutError:
        if entered:
            raise
        raise Failure(
            f"etcd at {target.etcd} does not answer.",
            "Is the cluster running? Look at `tidings status`. If etcd wants TLS, set TIDINGS_ETCD_TLS_CA_FILE and the "
            "other two.",
        ) from None


def _endpoints(target: Target) -> list[str]:
    return [endpoint.strip() for endpoint in target.etcd.split(",") if endpoint.strip()]


async def ask_operator(target: Target, call: Callable[[Any, Any], Awaitable[Answer]]) -> Answer:
    """One call of Admin on a logic node that answers. `call` is given the stub and the metadata to send."""
    metadata = (("authorization", f"Bearer {target.operator_token}"),)
    async with view(target) as cluster:
        ready = sorted(cluster.ring("logic").members)
        addresses = [node.rpc for name in ready if (node := cluster.node(name)) is not None]
    if not addresses:
        raise Failure("No logic node is ready.", "Look at `tidings nodes` and `tidings status`.")
    tls = tls_of(target.security())
    for tries_left, address in reversed(list(enumerate(reversed(addresses)))):
        async with open_channel(address, tls) as channel:
            try:
                return await call(admin_pb2_grpc.AdminStub(channel), metadata)
            except grpc.aio.AioRpcError as failure:
                error = error_from(failure, "Admin", address)
                if not isinstance(error, Unreachable) or not tries_left:
                    raise error from None
    raise AssertionError("unreachable")
