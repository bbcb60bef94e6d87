"""Takes messages and inbox entries over from the layout of 0.1.0 (former.py) into the log.

A pass goes through both former collections in steps of `_id`s. A step compares which `_id`s are there with which are in
the log, removes from the log what retention has removed since, copies what is missing, and compares again. So the first
pass copies, and each later one looks for what has changed: it reads `_id`s only. Documents go through this process,
since the `_id` of an inbox entry is another one in the log, which MongoDB 6 cannot compute.

    meta   _id "migration"  c collection  i the last `_id` of the last step  n how many were compared in this pass

Guarantees: a pass may be stopped at any point, goes on at the step where it was, and may run beside others and beside
nodes of 0.1.0. A final pass is one in which nobody writes. It begins at the beginning, since nobody knows what was
written after an earlier one; after it the log holds just what the former collections hold. `finish` declares that, and
then nothing is taken over, or removed, any more.
Does not know: who writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pymongo.errors import BulkWriteError

from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.documents import BESIDE_CONTENT_BYTES, content_bytes
from services.storage.repository.mongo.former import FORMER, FormerCollection
from services.storage.repository.mongo.layout import declare_log, former_data, is_log
from services.storage.repository.mongo.log import COMMAND_BYTES_MAX, counts_within
from services.storage.repository.mongo.schema import LOG, META
from tidings_protocol.errors import Internal

MIGRATION: Final = "migration"
STEP: Final = 10_000  # `_id`s that are compared at once
PART: Final = 500  # documents of one command
PARTS_MAX: Final = 4  # commands at once
TRIES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Step:
    """What was done in one step, up to the `_id` `through`: so many documents `compared`, of which `copied` were
    missing in the log; so many `removed` from it.
    """

    collection: str
    compared: int
    copied: int
    removed: int
    through: bytes


@dataclass(frozen=True, slots=True)
class Comparison:
    """The next `_id`s of a former collection, up to `through` (None: to the end), and how the log differs there: by
    what is `missing`, in their layout, and by what is `extra`, in its own.
    """

    ids: list[bytes]
    through: bytes | None
    missing: list[bytes]
    extra: set[bytes]

    @property
    def differs(self) -> bool:
        return bool(self.missing or self.extra)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a pass is: behind this `_id` of this collection."""

    collection: str
    after: bytes = b""
    compared: int = 0


BEGIN: Final = Place(FORMER[0].name)


class Migration:
    """The taking over in one database, whose schema is there."""

    def __init__(self, connection: MongoConnection, step: int = STEP) -> None:
        self._connection = connection
        self._step = step

    async def is_needed(self) -> bool:
        """Whether there is anything to take over."""
        return not await is_log(self._connection) and await former_data(self._connection)

    async def begun(self, *, final: bool) -> int:
        """How many documents the pass has compared before, which `steps` goes on with."""
        return (await self._place(final=final)).compared

    async def total(self) -> int:
        """How many documents a pass compares, about."""
        counts = [
            await self._connection.run(
                "count", each.name, self._connection.collection(each.name).estimated_document_count
            )
            for each in FORMER
        ]
        return sum(counts)

    async def steps(self, *, final: bool) -> AsyncIterator[Step]:
        """A pass, from where the last one was stopped; a final one from the beginning. Raises Unavailable, and Internal
        if a final one finds what it cannot take over.
        """
        place = await self._place(final=final)
        names = [each.name for each in FORMER]
        for former in FORMER[names.index(place.collection) :]:
            if place.collection != former.name:
                place = Place(former.name, compared=place.compared)
            compared = 1
            while compared:
                step = await self._take(former, place.after, final=final)
                compared = step.compared
                place = Place(former.name, step.through, place.compared + compared)
                await self._keep(place)
                yield step
        await self._forget()

    async def finish(self) -> None:
        """Declares the log to be all there is, after a final pass."""
        await declare_log(self._connection)

    async def drop(self) -> None:
        """Drops the former collections. Raises Internal if they were not taken over."""
        if await self.is_needed():
            raise Internal("the former collections are not taken over: they are kept")
        for former in FORMER:
            await self._connection.run("drop", former.name, self._connection.collection(former.name).drop)

    async def _take(self, former: FormerCollection, after: bytes, *, final: bool) -> Step:
        """The next step; one that compares nothing is the last one of its collection."""
        copied = removed = 0
        compared = await self._compare(former, after)
        for _ in range(TRIES_MAX):
            if not compared.differs:
                break
            removed += await self._remove(former, compared, after)
            copied += await self._copy(former, compared.missing)
            compared = await self._compare(former, after)
        if final and compared.differs:
            raise Internal(f"the log still differs from `{former.name}` after {TRIES_MAX} tries: does a node write?")
        ids = compared.ids
        return Step(former.name, len(ids), copied, removed, ids[-1] if ids else after)

    async def _compare(self, former: FormerCollection, after: bytes) -> Comparison:
        ids = await self._ids(former.name, {}, after, None, self._step)
        through = ids[-1] if len(ids) == self._step else None
        there = await self._there(former, after, through)
        wanted = {former.to_id(each): each for each in ids}
        missing = [each for key, each in wanted.items() if key not in there]
        return Comparison(ids, through, missing, there - wanted.keys())

    async def _there(self, former: FormerCollection, after: bytes, through: bytes | None) -> set[bytes]:
        low = former.to_id(after) if after else b""
        high = None if through is None else former.to_id(through)
        return set(await self._ids(LOG, former.in_log, low, high))

    async def _ids(
        self, collection: str, query: Document, after: bytes, through: bytes | None, limit: int = 0
    ) -> list[bytes]:
        bounds: Document = {"$gt": after} if through is None else {"$gt": after, "$lte": through}
        found = await self._connection.find(
            "ids", collection, {"_id": bounds, **query}, {"_id": 1}, sort=[("_id", 1)], hint=[("_id", 1)], limit=limit
        )
        return [bytes(each["_id"]) for each in found]

    async def _remove(self, former: FormerCollection, compared: Comparison, after: bytes) -> int:
        """Removes what retention has removed since it was copied, and not what another run copied just now."""
        if not compared.extra:
            return 0
        ids = await self._ids(former.name, {}, after, compared.through)
        extra = compared.extra - {former.to_id(each) for each in ids}
        await self._check_not_finished()
        log = self._connection.collection(LOG)
        removed = 0
        for part in _parts(sorted(extra, key=_order)):
            result = await self._connection.run("remove", LOG, partial(log.delete_many, _just(part)))
            removed += result.deleted_count
        return removed

    async def _check_not_finished(self) -> None:
        """Whoever finished let nodes write into the log: what is there and was not taken over is theirs."""
        if await is_log(self._connection):
            raise Internal("another run has finished meanwhile: this one is too late")

    async def _copy(self, former: FormerCollection, missing: Sequence[bytes]) -> int:
        if missing:
            await self._check_not_finished()
        parts, copied = list(_parts(missing)), 0
        for start in range(0, len(parts), PARTS_MAX):
            together = parts[start : start + PARTS_MAX]
            copied += sum(await asyncio.gather(*(self._copy_part(former, part) for part in together)))
        return copied

    async def _copy_part(self, former: FormerCollection, part: Sequence[bytes]) -> int:
        """How many went in; what is in the way of one is looked at in the next try."""
        documents = [former.to_document(each) for each in await self._connection.find("copy", former.name, _just(part))]
        sizes = [content_bytes(each) + BESIDE_CONTENT_BYTES for each in documents]
        copied = 0
        for count in counts_within(sizes, COMMAND_BYTES_MAX):
            try:
                await self._connection.insert(LOG, documents[copied : copied + count])
            except BulkWriteError as error:
                return copied + int(error.details["nInserted"])
            copied += count
        return copied

    async def _place(self, *, final: bool) -> Place:
        if final:
            return BEGIN
        for kept in await self._connection.find("place", META, {"_id": MIGRATION}):
            return Place(kept["c"], bytes(kept["i"]), kept["n"])
        return BEGIN

    async def _keep(self, place: Place) -> None:
        meta = self._connection.collection(META)
        kept = {"_id": MIGRATION, "c": place.collection, "i": place.after, "n": place.compared}
        await self._connection.run("place", META, lambda: meta.replace_one({"_id": MIGRATION}, kept, upsert=True))

    async def _forget(self) -> None:
        meta = self._connection.collection(META)
        await self._connection.run("place", META, lambda: meta.delete_one({"_id": MIGRATION}))


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), PART):
        yield keys[start : start + PART]


def _just(part: Sequence[bytes]) -> Document:
    """Just these, which lie close together: all that is between them is looked at."""
    return {"_id": {"$gte": part[0], "$lte": part[-1], "$in": list(part)}}


def _order(key: bytes) -> tuple[int, bytes]:
    """As MongoDB sorts binary data."""
    return len(key), key
