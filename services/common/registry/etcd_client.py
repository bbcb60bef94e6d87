"""etcd's calls as coroutines, over several endpoints. The only file that knows the etcd3 package.

It uses the messages and stubs of etcd3 on a channel of grpc.aio, not the package's client: that blocks, keeps a thread
for each watch that dies (with a NameError, in 0.13) when its stream breaks, and shuts a failed endpoint out for five
minutes.

Guarantees: every call has a deadline; one that fails goes on with the next endpoint, within its time, and takes the
watch stream along, so that it does not hang on an endpoint that answers nobody. No threads.

Does not know: what the keys mean. Calls that were not answered may have been done: all of ours may be repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from etcd3 import etcdrpc

from services.common.certificates import check_pair
from services.common.registry.etcd_tls import EtcdTls
from services.common.registry.etcd_values import Compacted, Event, KeyValue, Lease, LeaseGone, Outcome
from services.common.scope import Owned
from services.common.telemetry import metrics
from tidings_protocol.errors import Unavailable

T = TypeVar("T")

CALL_S = 3.0
OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    # A list of all nodes, or a watch that catches up, is one message: gRPC takes 4 MiB by itself.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]
# A member that is cut off from the others says so instead of answering from the past.
METADATA = (("hasleader", "true"),)
_LOST_CALL = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class _Endpoint:
    """One address with its channel and stubs."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.address = address
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)
        self.kv = etcdrpc.KVStub(self.channel)
        self.lease = etcdrpc.LeaseStub(self.channel)
        self.watch = etcdrpc.WatchStub(self.channel)


class EtcdClient(Owned):
    """Use it as an async context manager. Calls raise Unavailable when etcd does not answer."""

    def __init__(self, endpoints: Sequence[str], *, try_s: float = 1.5, tls: EtcdTls | None = None) -> None:
        """`try_s`: for one try at one endpoint, before the next one is asked. Raises OSError for a file of `tls`."""
        if not endpoints:
            raise ValueError("etcd needs at least one endpoint, host:port")
        self._addresses = tuple(endpoints)
        self._try_s = try_s
        self._tls = tls
        self._credentials = tls.credentials() if tls else None
        self._endpoints: list[_Endpoint] = []
        self._current = 0
        self._stream: Any = None

    async def read(self, key: str) -> KeyValue | None:
        """The key as it is now."""
        pairs, _ = await self._range(etcdrpc.RangeRequest(key=key.encode()))
        return pairs[0] if pairs else None

    async def find(self, prefix: str) -> tuple[list[KeyValue], int]:
        """All keys below the prefix, and the revision at which they are so."""
        return await self._range(etcdrpc.RangeRequest(key=prefix.encode(), range_end=_end_of(prefix)))

    async def ping(self) -> int:
        """The present revision, from a majority."""
        _, revision = await self._range(etcdrpc.RangeRequest(key=b"\0", count_only=True))
        return revision

    async def put_if(self, conditions: Sequence[tuple[str, int]], key: str, value: str, lease: int) -> Outcome:
        """Puts the key if each of these keys was last changed at that revision (0: is not there).

        Raises LeaseGone.
        """
        request = etcdrpc.TxnRequest(
            compare=[
                etcdrpc.Compare(
                    key=name.encode(),
                    target=etcdrpc.Compare.MOD,
                    result=etcdrpc.Compare.EQUAL,
                    mod_revision=revision,
                )
                for name, revision in conditions
            ],
            success=[
                etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key.encode(), value=value.encode(), lease=lease))
            ],
        )
        response = await self._call(
            "txn", lambda to, timeout_s: to.kv.Txn(request, timeout=timeout_s, metadata=METADATA)
        )
        return Outcome(response.succeeded, response.header.revision)

    async def grant(self, ttl_s: int) -> Lease:
        """A new lease."""
        request = etcdrpc.LeaseGrantRequest(TTL=ttl_s)
        response = await self._call(
            "grant", lambda to, timeout_s: to.lease.LeaseGrant(request, timeout=timeout_s, metadata=METADATA)
        )
        return Lease(int(response.ID), int(response.TTL) or ttl_s)

    async def keep_alive(self, lease: int) -> None:
        """Renews the lease once; raises LeaseGone if there is nothing to renew."""

        async def renew(to: _Endpoint, timeout_s: float) -> Any:
            call = to.lease.LeaseKeepAlive(timeout=timeout_s, metadata=METADATA)
            try:
                await call.write(etcdrpc.LeaseKeepAliveRequest(ID=lease))
                response = await call.read()
            finally:
                call.cancel()
            if response is _EOF:
                raise Unavailable(f"etcd at {to.address} ended the keep-alive")
            return response

        response = await self._call("keep_alive", renew)
        if response.TTL <= 0:
            raise LeaseGone

    async def revoke(self, lease: int, timeout_s: float = CALL_S) -> None:
        """Ends the lease with all its keys; one that is gone already is no error."""
        request = etcdrpc.LeaseRevokeRequest(ID=lease)
        try:
            await self._call(
                "revoke", lambda to, try_s: to.lease.LeaseRevoke(request, timeout=try_s, metadata=METADATA), timeout_s
            )
        except LeaseGone:
            return

    async def watch(self, prefix: str, since: int) -> AsyncGenerator[tuple[list[Event], int], None]:
        """Changes below the prefix from that revision on, each with the place to go on from: the revision of the last
        change that was shown. The first comes without any change.

        A header's revision is no such place: it is the store's, and what happened before it may still be on its way.
        Ends with Unavailable when the stream breaks, with Compacted when it cannot begin there.
        """
        stream = self._stream = self._endpoints[self._current].watch.Watch(metadata=METADATA)
        seen = since - 1
        create = etcdrpc.WatchCreateRequest(key=prefix.encode(), range_end=_end_of(prefix), start_revision=since)
        try:
            async with asyncio.timeout(self._try_s):
                await stream.write(etcdrpc.WatchRequest(create_request=create))
                first = await stream.read()
            while first is not _EOF:
                # A revision below what was seen: etcd has lost its data, and the watch would wait for a far future.
                if first.compact_revision or (first.created and first.header.revision < seen):
                    raise Compacted
                if first.canceled:
                    break
                if first.events:
                    seen = first.events[-1].kv.mod_revision
                yield [_event(event) for event in first.events], seen
                first = await stream.read()
            raise Unavailable("etcd ended the watch")
        except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as failure:
            raise Unavailable(f"etcd broke the watch off: {failure.__class__.__name__}") from None
        except asyncio.CancelledError:
            if _is_own_cancellation():
                raise
            raise Unavailable("the watch was broken off to try another endpoint") from None
        finally:
            stream.cancel()

    async def _running(self) -> AsyncIterator[None]:
        self._endpoints = [_Endpoint(address, self._credentials) for address in self._addresses]
        try:
            yield
        finally:
            for endpoint in self._endpoints:
                await endpoint.channel.close(None)

    async def renew_certificate(self) -> None:
        """What the files hold now, by new channels; calls under way may end. Raises OSError, ValueError; then nothing
        changes."""
        tls = self._tls
        assert tls is not None
        if tls.cert_file is not None:
            check_pair(tls.cert_file, tls.key_file, tls.ca_file)
        self._credentials = tls.credentials()
        old, self._endpoints = self._endpoints, [_Endpoint(each, self._credentials) for each in self._addresses]
        for endpoint in old:
            await endpoint.channel.close(self._try_s)

    def _fail_over(self) -> None:
        """The next endpoint from now on, also for the watch."""
        self._current = (self._current + 1) % len(self._endpoints)
        if self._stream is not None:
            self._stream.cancel()

    async def _range(self, request: Any) -> tuple[list[KeyValue], int]:
        response = await self._call(
            "range", lambda to, timeout_s: to.kv.Range(request, timeout=timeout_s, metadata=METADATA)
        )
        return [_pair(kv) for kv in response.kvs], response.header.revision

    async def _call(
        self, operation: str, attempt: Callable[[_Endpoint, float], Awaitable[Any]], timeout_s: float = CALL_S
    ) -> Any:
        """One call, measured."""
        began, outcome = time.monotonic(), "cancelled"  # the loop's own clock has whole milliseconds
        try:
            response = await self._attempt(attempt, timeout_s)
            outcome = "ok"
        except LeaseGone:
            outcome = "lease_gone"
            raise
        except Unavailable:
            outcome = "unavailable"
            raise
        finally:
            took_s = time.monotonic() - began
            metrics.REGISTRY_SECONDS.labels(operation, outcome).observe(took_s)
        return response

    async def _attempt(self, attempt: Callable[[_Endpoint, float], Awaitable[Any]], timeout_s: float) -> Any:
        """On each endpoint at most once and at least twice in all, within the time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        why = ""
        for _ in range(max(2, len(self._endpoints))):
            left_s = deadline - loop.time()
            if left_s <= 0:
                break
            endpoint = self._endpoints[self._current]
            try:
                return await attempt(endpoint, min(self._try_s, left_s))
            except grpc.aio.AioRpcError as failure:
                if failure.code() is grpc.StatusCode.NOT_FOUND:
                    raise LeaseGone from None
                why = f"{failure.code().name} {failure.details() or ''}"
                if failure.code() not in _LOST_CALL:
                    raise Unavailable(f"etcd at {endpoint.address} refused a call ({why}): look into its log") from None
            except asyncio.CancelledError:
                if _is_own_cancellation():
                    raise
                why = "the channel was closed"
            if endpoint is self._endpoints[self._current]:
                self._fail_over()
        raise Unavailable(f"etcd does not answer at {', '.join(self._addresses)} ({why.strip()[:200]}): try again")


def _is_own_cancellation() -> bool:
    """Whether the task was cancelled, not just the call that it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _end_of(prefix: str) -> bytes:
    """The first key after all that begin with the prefix; those end in "/"."""
    return prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])


def _pair(kv: Any) -> KeyValue:
    return KeyValue(kv.key.decode(), kv.value.decode("utf-8", "replace"), kv.mod_revision, kv.lease)


def _event(event: Any) -> Event:
    return Event(event.type == event.DELETE, _pair(event.kv))
