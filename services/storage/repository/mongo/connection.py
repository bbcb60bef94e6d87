"""The repository on MongoDB: the connection, and what all its ports share.

Every write asks for a majority and the journal, every read for what a majority has. A command has one deadline for
everything (`timeoutMS`) and is tried once.

Guarantees: those of repository/contract.py. Whatever keeps MongoDB from answering (away, electing, too slow) is
Unavailable, within the deadline; while it is away only one command at a time tries, for a moment that doubles up to the
deadline, and the others are refused at once; connections heal by themselves, also to a MongoDB that has become slow.
Does not know: what the documents mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import UpdateMany, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.storage.repository.mongo.pool import PoolWatch
from services.storage.repository.mongo.schema import Document
from tidings_protocol.errors import Internal, TidingsError, Unavailable

T = TypeVar("T")
# `_id`s between the first two, these excluded; at most so many; descending or not.
Range = tuple[bytes, bytes, int, bool]

DUPLICATE_KEY = 11000
# One answer for all: otherwise a page of more than 101 documents takes two round trips.
READ_BATCH = 10_000
# How many ranges one command asks for.
UNION_MAX = 50
RETRY_MS = 1000
MAJORITY: Final = WriteConcern("majority", j=True)
# While MongoDB is away: what the one command may take that tries whether it is back, at first.
PROBE_S = 0.3
# How long a command waits for a server that takes writes: enough for a restart, not for an election.
SELECTION_S = 0.5
# How often the driver looks at each server by itself.
HEARTBEAT_MS = 1000
_RETRYABLE = ("RetryableWriteError", "TransientTransactionError")
# Stepping down, shutting down, interrupted by it: the server's own codes for "not me, not now".
_PASSING = frozenset({6, 7, 24, 50, 64, 89, 91, 133, 189, 202, 262, 9001, 10107, 11600, 11602, 13435, 13436})

log = logs.get_logger(__name__)


class Patience:
    """How long the command may take that tries whether MongoDB is back: twice as long after each that did not get
    through, up to the deadline of all commands. What answers late is there all the same.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self.now_s = min(PROBE_S, longest_s)

    def failed(self) -> None:
        self.now_s = min(self.now_s * 2, self._longest_s)

    def answered(self) -> None:
        self.now_s = min(PROBE_S, self._longest_s)


class MongoConnection:
    """A database, as the ports use it: every command goes through `run`."""

    def __init__(self, database: AsyncIOMotorDatabase[Document], clock: Clock, timeout_s: float) -> None:
        self.database = database
        self._clock = clock
        self._away = False
        self._probing = False
        self._patience = Patience(timeout_s)

    @property
    def away(self) -> bool:
        """Whether the last command could not reach MongoDB."""
        return self._away

    @property
    def is_sharded(self) -> bool:
        """Whether this is a sharded cluster, as the driver found it."""
        return bool(self.database.client.delegate.topology_description.topology_type_name == "Sharded")

    def collection(self, name: str) -> AsyncIOMotorCollection[Document]:
        return self.database[name]

    async def run(self, command: str, collection: str, call: Callable[[], Awaitable[T]]) -> T:
        """Runs one command with its deadline, and measures it. Errors are translated, but for BulkWriteError of
        documents.
        """
        if self._away and self._probing:
            raise _unavailable()
        self._probing = self._away
        began = self._clock.now_s()
        outcome = "cancelled"
        try:
            timeout_s = self._patience_s()
            if timeout_s is None:
                result = await call()
            else:
                with pymongo.timeout(timeout_s):
                    result = await call()
            outcome = "ok"
        except BulkWriteError as error:
            if failure := _failure_of_bulk(error):
                outcome = failure.label
                raise failure from error
            outcome = "conflict"
            self._reached(answered=True)
            raise
        except PyMongoError as error:
            failure = _translated(error)
            outcome = failure.label
            self._reached(answered=not isinstance(error, AutoReconnect | ServerSelectionTimeoutError))
            raise failure from error
        finally:
            self._probing = False
            took = self._clock.now_s() - began
            metrics.REPOSITORY_SECONDS.labels(command, collection, outcome).observe(took)
        self._reached(answered=True)
        return result

    def _patience_s(self) -> float | None:
        """How long a command may take; None: as configured. The driver would wait that long for a server to appear."""
        if self._away:
            return self._patience.now_s
        return None if self.database.client.delegate.topology_description.has_writable_server() else SELECTION_S

    def _reached(self, *, answered: bool) -> None:
        if answered:
            self._patience.answered()
        elif self._away:
            self._patience.failed()
        if answered == self._away:
            self._away = not answered
            if answered:
                log.info("mongodb answers again")
            else:
                log.warning("mongodb does not answer")

    async def ping(self) -> None:
        """Returns if a server answers. Raises Unavailable."""
        await self.run("ping", "admin", lambda: self.database.client.admin.command("ping"))

    async def aggregate(
        self, command: str, collection: str, pipeline: list[Document], **options: Any
    ) -> list[Document]:
        """All documents that the pipeline gives; options are those of the driver's `aggregate`."""

        async def call() -> list[Document]:
            cursor = self.collection(collection).aggregate(pipeline, batchSize=READ_BATCH, **options)
            return await cursor.to_list(None)

        return await self.run(command, collection, call)

    async def find(
        self, command: str, collection: str, query: Document, projection: Document | None = None, **options: Any
    ) -> list[Document]:
        """All documents that fit the query; options are those of the driver's `find`."""

        async def call() -> list[Document]:
            cursor = self.collection(collection).find(query, projection, batch_size=READ_BATCH, **options)
            return await cursor.to_list(None)

        return await self.run(command, collection, call)

    async def ranges(
        self,
        command: str,
        collection: str,
        ranges: Sequence[Range],
        *,
        then: Sequence[Document] = (),
        filters: Sequence[Document] = (),
        together: Sequence[Document] = (),
    ) -> list[list[Document]]:
        """The documents of each range, through these further stages; with filters, aligned with the ranges, those that
        fit them. `together`: stages for the documents of all ranges of a command; they keep `#`, the range's place.

        One command for up to UNION_MAX ranges, each a bounded scan of its own.
        """
        pages: list[list[Document]] = [[] for _ in ranges]
        stages = [_range_stages(tag, each, then) for tag, each in enumerate(ranges)]
        for stage, each in zip(stages, filters, strict=False):
            stage[1:3] = [{"$match": each}]
        for start in range(0, len(ranges), UNION_MAX):
            first, *rest = stages[start : start + UNION_MAX]
            pipeline = first + [{"$unionWith": {"coll": collection, "pipeline": each}} for each in rest]
            for document in await self.aggregate(command, collection, [*pipeline, *together]):
                pages[document["#"]].append(document)
        return pages

    async def lookup(
        self, command: str, collection: str, keys: Sequence[bytes], *, then: Sequence[Document] = ()
    ) -> list[Document]:
        """The documents with these `_id`s in a clustered collection, through these further stages: each found by
        itself, all in one command.
        """

        async def call() -> list[Document]:
            cursor = self.database.aggregate(
                [
                    {"$documents": [{"i": key} for key in keys]},
                    {"$lookup": {"from": collection, "localField": "i", "foreignField": "_id", "as": "d"}},
                    {"$match": {"d": {"$ne": []}}},
                    {"$replaceRoot": {"newRoot": {"$first": "$d"}}},
                    *then,
                ],
                batchSize=READ_BATCH,
            )
            return await cursor.to_list(None)

        return await self.run(command, collection, call) if keys else []

    async def insert(self, collection: str, documents: list[Document]) -> None:
        """Inserts all of them, in this order. Raises BulkWriteError for the first that does not go in.

        The command itself, not `insert_many`: the documents have their `_id`s and need none of its care (measured: 1 µs
        a document instead of 6).
        """

        async def call() -> None:
            reply = await self.database.command(
                {"insert": collection, "documents": documents, "ordered": True, "writeConcern": MAJORITY.document}
            )
            errors, concern = reply.get("writeErrors", []), reply.get("writeConcernError")
            if errors or concern:
                raise BulkWriteError(
                    {
                        "nInserted": reply["n"],
                        "writeErrors": errors,
                        "writeConcernErrors": [concern] if concern else [],
                    }
                )

        await self.run("insert", collection, call)
        metrics.REPOSITORY_DOCUMENTS.labels(collection).inc(len(documents))

    async def write(self, command: str, collection: str, body: Document, count: int) -> int:
        """Writes so many documents in any order, by the command itself (as `insert`); how many found what they looked
        for. One that finds another of its key does not count.
        """
        if not count:
            return 0

        async def call() -> int:
            reply = await self.database.command({**body, "ordered": False, "writeConcern": MAJORITY.document})
            errors = [each for each in reply.get("writeErrors", ()) if each["code"] != DUPLICATE_KEY]
            concern = reply.get("writeConcernError")
            if errors or concern:
                raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": [concern] if concern else []})
            return int(reply["n"])

        return await self.run(command, collection, call)

    async def update(self, command: str, collection: str, updates: Sequence[UpdateOne | UpdateMany]) -> None:
        """Does all of them, in any order; an upsert that finds that its filter does not hold for what is there does
        nothing.
        """
        if not updates:
            return
        try:
            await self.run(
                command, collection, lambda: self.collection(collection).bulk_write(list(updates), ordered=False)
            )
        except BulkWriteError as error:
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise _translated(error) from error
        metrics.REPOSITORY_DOCUMENTS.labels(collection).inc(len(updates))


def _range_stages(tag: int, bounds: Range, then: Sequence[Document]) -> list[Document]:
    low, high, limit, descending = bounds
    return [
        {"$match": {"_id": {"$gt": low, "$lt": high}}},
        {"$sort": {"_id": -1 if descending else 1}},
        {"$limit": limit},
        {"$addFields": {"#": {"$literal": tag}}},
        *then,
    ]


def _failure_of_bulk(error: BulkWriteError) -> TidingsError | None:
    """The failure of a bulk write of which it is not known what was done; None if only documents are in the way."""
    if error.details["writeConcernErrors"]:
        return _unavailable()
    if all(each["code"] == DUPLICATE_KEY for each in error.details["writeErrors"]):
        return None
    codes = {each["code"] for each in error.details["writeErrors"]} - {DUPLICATE_KEY}
    if codes <= _PASSING:
        return _unavailable()
    log.error("mongodb refused a write", codes=sorted(codes), reason=error.details["writeErrors"][0].get("errmsg"))
    return _refused("write")


def _translated(error: PyMongoError) -> TidingsError:
    passing = isinstance(
        error, AutoReconnect | ServerSelectionTimeoutError | NetworkTimeout | ExecutionTimeout | WTimeoutError
    )
    if passing or error.timeout or any(map(error.has_error_label, _RETRYABLE)):
        return _unavailable()
    if isinstance(error, OperationFailure) and error.code in _PASSING:
        return _unavailable()
    log.error("mongodb refused a command", error=type(error).__name__, reason=str(error))
    return _refused("command")


def _refused(what: str) -> Internal:
    return Internal(
        f'the message store refused a {what}: see "mongodb refused a {what}" in the log of the storage node'
    )


def _unavailable() -> Unavailable:
    return Unavailable("the message store does not answer: try again", RETRY_MS)


@asynccontextmanager
async def connected(
    uri: str, database: str, clock: Clock, *, timeout_s: float, connections_max: int, name: str
) -> AsyncIterator[MongoConnection]:
    """A connection that is closed at the end. Does not wait for MongoDB. Raises ConfigurationError for a wrong URI."""
    timeout_ms = round(timeout_s * 1000)
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        uri,
        appname=f"tidings {name}"[:128],
        timeoutMS=timeout_ms,
        serverSelectionTimeoutMS=timeout_ms,
        connectTimeoutMS=timeout_ms,
        heartbeatFrequencyMS=HEARTBEAT_MS,
        maxPoolSize=connections_max,
        event_listeners=[PoolWatch(connections_max)],
        # Whoever called finds out what became of it, at once; the driver would wait for a server first.
        retryWrites=False,
        retryReads=False,
    )
    try:
        yield MongoConnection(
            client.get_database(
                database,
                read_concern=ReadConcern("majority"),
                write_concern=MAJORITY,
            ),
            clock,
            timeout_s,
        )
    finally:
        client.close()


__all__ = ["ConfigurationError", "Document", "MongoConnection", "connected"]
