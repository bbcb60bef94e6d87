"""How long a command may try whether MongoDB is back, and what is said of one that it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from structlog.testing import capture_logs

from services.common.clock import ManualClock
from services.storage.repository.mongo.connection import PROBE_S, MongoConnection, Patience
from tidings_protocol.errors import Internal


def test_each_failure_doubles_it_up_to_the_deadline_and_an_answer_begins_anew() -> None:
    patience = Patience(1.5)
    seen = []
    for _ in range(5):
        seen.append(patience.now_s)
        patience.failed()
    assert seen == [PROBE_S, 0.6, 1.2, 1.5, 1.5]
    patience.answered()
    assert patience.now_s == PROBE_S


def test_it_is_never_above_the_deadline() -> None:
    assert Patience(0.1).now_s == 0.1


@pytest.mark.parametrize(
    "error",
    [
        OperationFailure("not authorized", 13),
        BulkWriteError({"writeErrors": [{"code": 121, "errmsg": "not valid"}], "writeConcernErrors": []}),
    ],
)
async def test_what_mongodb_refuses_names_the_line_of_the_log_that_says_why(error: PyMongoError) -> None:
    server = SimpleNamespace(topology_description=SimpleNamespace(has_writable_server=lambda: True))
    database = cast("Any", SimpleNamespace(client=SimpleNamespace(delegate=server)))

    async def refuse() -> None:
        raise error

    with capture_logs() as lines, pytest.raises(Internal) as refused:
        await MongoConnection(database, ManualClock(), 1.0).run("insert", "messages", refuse)
    (line,) = lines
    assert f'see "{line["event"]}" in the log of the storage node' in refused.value.message
