"""How full MongoDB's pool is, by the driver's events."""

from __future__ import annotations

import pytest
from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutFailedReason,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
)

from services.common.telemetry import metrics
from services.storage.repository.mongo.pool import PoolWatch

SERVER = ("127.0.0.1", 1)


def test_connections_are_open_until_closed_and_busy_while_they_are_out() -> None:
    watch = PoolWatch(32)
    assert (pooled("open"), pooled("busy"), metrics.REPOSITORY_CONNECTIONS_MAX._value.get()) == (0, 0, 32)
    for number in (1, 2):
        watch.connection_created(ConnectionCreatedEvent(SERVER, number))
    before = checkouts()
    watch.connection_check_out_started(ConnectionCheckOutStartedEvent(SERVER))
    watch.connection_checked_out(ConnectionCheckedOutEvent(SERVER, 1, 0.0))
    assert (pooled("open"), pooled("busy"), checkouts()) == (2, 1, before + 1)
    watch.connection_checked_in(ConnectionCheckedInEvent(SERVER, 1))
    watch.connection_closed(ConnectionClosedEvent(SERVER, 1, "idle"))
    assert (pooled("open"), pooled("busy")) == (1, 0)


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        (ConnectionCheckOutFailedReason.TIMEOUT, "timeout"),
        (ConnectionCheckOutFailedReason.POOL_CLOSED, "closed"),
        (ConnectionCheckOutFailedReason.CONN_ERROR, "error"),
    ],
)
def test_a_command_that_gets_no_connection_is_counted_with_its_reason(reason: str, label: str) -> None:
    failed = metrics.REPOSITORY_CHECKOUTS_FAILED.labels(label)
    before = failed._value.get()
    PoolWatch(1).connection_check_out_failed(ConnectionCheckOutFailedEvent(SERVER, reason, 0.0))
    assert failed._value.get() == before + 1


def pooled(state: str) -> float:
    return float(metrics.REPOSITORY_CONNECTIONS.labels(state)._value.get())


def checkouts() -> float:
    return next(
        sample.value
        for family in metrics.REPOSITORY_CHECKOUT_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    )
