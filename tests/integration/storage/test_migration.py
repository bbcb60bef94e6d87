"""Data of 0.1.0 are taken over into the log: while that version writes, in several runs, and just once for all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.common.clock import SystemClock
from services.storage.migrate import migrated
from services.storage.repository.contract import Conflict, Inserted, Repository
from services.storage.repository.mongo.connection import MongoConnection, connected
from services.storage.repository.mongo.migration import Migration
from services.storage.repository.mongo.repository import ensure_schema, make_schema, mongo_repository
from services.storage.repository.records import SYSTEM, ClientKey, InboxEntry, Span, StoredMessage
from tests.integration.storage.former_data import FormerData
from tests.support.cluster.backends import RealBackends, clean_environment
from tests.support.cluster.mongod import Mongod
from tidings_protocol.errors import Internal, TidingsError
from tidings_protocol.ids import new_id

pytestmark = pytest.mark.integration

STEP = 50
USERS = ["ann", "bob", "cleopatra", "g:1", "d:e", "zoe"]
CHATS = ["d:ann|bob", "d:ann|cleopatra", "g:1", "g:22", "d:d:e|zoe", "b:all"]
Line = dict[str, Any]


class Writer:
    """What nodes of 0.1.0 write, a little more each time: each user gets an entry of each message."""

    def __init__(self) -> None:
        self.seqs = dict.fromkeys(CHATS, 0)
        self.numbers = dict.fromkeys(USERS, 0)

    def next(self, count: int) -> tuple[list[StoredMessage], list[InboxEntry]]:
        messages, entries = [], []
        for chat in CHATS:
            for _ in range(count):
                seq = self.seqs[chat] = self.seqs[chat] + 1
                notice = seq % 5 == 0
                kind = {"kind": SYSTEM, "change": b"change"} if notice else {}
                messages.append(StoredMessage(chat, seq, "ann", f"c{seq}", 1000 + seq, b"\0" * seq, **kind))  # type: ignore[arg-type]
                for user in USERS:
                    number = self.numbers[user] = self.numbers[user] + 1
                    entries.append(InboxEntry(user, number, chat, seq, 1000 + seq))
        return messages, entries


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[MongoConnection]:
    mongod = Mongod(tmp_path)
    await mongod.start()
    try:
        async with connected(
            mongod.uri, "former", SystemClock(), timeout_s=30, connections_max=8, name="test"
        ) as opened:
            yield opened
    finally:
        await mongod.stop()


async def former_of(connection: MongoConnection, count: int) -> tuple[FormerData, Writer]:
    former, writer = FormerData(connection.database), Writer()
    await former.create()
    await former.write(*writer.next(count))
    return former, writer


async def run(
    connection: MongoConnection,
    serving: Sequence[str] = (),
    stop_after: int = 1_000_000,
    *,
    drop: bool = False,
) -> Line:
    """The last line of one run, which is stopped after so many steps."""
    lines: list[Line] = []
    steps = 0

    def stopped() -> bool:
        nonlocal steps
        steps += 1
        return steps >= stop_after

    async def alive() -> Sequence[str]:
        return serving

    await make_schema(connection)
    await migrated(Migration(connection, STEP), alive, SystemClock(), lines.append, stopped=stopped, drop=drop)
    return lines[-1]


async def read(repository: Repository) -> tuple[dict[str, list[StoredMessage]], dict[str, list[InboxEntry]]]:
    """All that a node of this version shows, page by page."""
    chats = await _paged(repository.messages.pages, CHATS, lambda each: each.seq)
    inboxes = await _paged(repository.inboxes.pages, USERS, lambda each: each.number)
    return chats, inboxes


async def _paged(pages: Any, keys: Sequence[str], number_of: Callable[[Any], int]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {key: [] for key in keys}
    for key, rows in found.items():
        (page,) = await pages([Span(key, limit=7)])
        while page:
            rows += page
            (page,) = await pages([Span(key, after=number_of(rows[-1]), limit=7)])
    return {key: rows for key, rows in found.items() if rows}


async def test_every_page_is_the_same_after_runs_that_were_stopped_with_writes_between(
    connection: MongoConnection,
) -> None:
    former, writer = await former_of(connection, 30)
    with pytest.raises(TidingsError, match="run `tidings migrate`"):
        await ensure_schema(connection)
    stopped = await run(connection, ["storage-0"], stop_after=8)
    assert (stopped["stopped"], stopped["done"]) == (True, False)
    assert 0 < stopped["copied"] < stopped["total"]

    await former.write(*writer.next(3))
    await former.retain("d:ann|bob", 11, "ann", 60)
    gone_on = await run(connection, ["storage-0"])
    assert (gone_on["done"], gone_on["serving"]) == (False, ["storage-0"])
    assert gone_on["compared"] > gone_on["copied"] > 0
    with pytest.raises(TidingsError, match="run `tidings migrate`"):
        await ensure_schema(connection)

    await former.write(*writer.next(2))
    await former.retain("g:1", 20, "g:1", 25)
    before = await former.read()
    last = await run(connection)
    assert (last["done"], last["serving"], last["removed"] > 0) == (True, [], True)
    repository = mongo_repository(connection)
    assert await read(repository) == before
    assert last["compared"] == sum(len(rows) for kind in before for rows in kind.values())

    again = await run(connection)
    assert again == {"done": True, "dropped": False}
    await ensure_schema(connection)
    assert await read(repository) == before
    assert await former.read() == before


async def test_numbers_and_client_ids_go_on_behind_what_was_taken_over(connection: MongoConnection) -> None:
    await former_of(connection, 3)
    await run(connection)
    await ensure_schema(connection)
    repository = mongo_repository(connection)
    assert len(await repository.messages.find([ClientKey("g:1", "ann", "c2")])) == 1
    taken, used, fits = (
        StoredMessage("g:1", seq, "ann", client_id, 1, b"") for seq, client_id in ((3, "new"), (4, "c2"), (4, "c4"))
    )
    entry = InboxEntry("ann", 18, "g:1", 4, 1)
    assert await repository.log.insert([taken], []) == Inserted(0, Conflict.NUMBER)
    assert await repository.log.insert([used], []) == Inserted(0, Conflict.CLIENT)
    assert await repository.log.insert([fits], [entry]) == Inserted(1, Conflict.ENTRY)


async def test_a_final_run_that_was_stopped_looks_at_everything_again(connection: MongoConnection) -> None:
    former, writer = await former_of(connection, 30)
    assert (await run(connection, stop_after=10))["stopped"]
    await former.write(*writer.next(2))
    assert (await run(connection))["done"]
    assert await read(mongo_repository(connection)) == await former.read()


async def test_a_node_that_came_during_the_final_run_keeps_it_from_finishing(connection: MongoConnection) -> None:
    await former_of(connection, 3)
    asked = 0

    async def alive() -> Sequence[str]:
        nonlocal asked
        asked += 1
        return ["storage-0"] if asked > 1 else []

    lines: list[Line] = []
    await make_schema(connection)
    await migrated(Migration(connection), alive, SystemClock(), lines.append)
    assert (lines[-1]["done"], lines[-1]["serving"]) == (False, ["storage-0"])


async def test_two_runs_at_once_take_over_everything_once(connection: MongoConnection) -> None:
    former, _ = await former_of(connection, 20)
    await asyncio.gather(*(run(connection, ["storage-0"]) for _ in range(2)))
    assert (await run(connection))["copied"] == 0
    assert await read(mongo_repository(connection)) == await former.read()


async def test_a_run_that_is_overtaken_removes_nothing_that_a_node_wrote(connection: MongoConnection) -> None:
    await former_of(connection, 30)
    await make_schema(connection)
    late = Migration(connection, STEP).steps(final=False)
    await anext(late)
    await run(connection)
    await ensure_schema(connection)
    new = StoredMessage("d:ann|cleopatra", 31, "ann", "new", 1, b"")
    await mongo_repository(connection).log.insert([new], [])
    with pytest.raises(Internal, match="another run has finished"):
        async for _ in late:
            pass
    key = (new.conversation, new.seq)
    assert await mongo_repository(connection).messages.get([key]) == {key: new}


async def test_former_collections_are_dropped_only_if_that_is_said_and_when_all_is_done(
    connection: MongoConnection,
) -> None:
    await former_of(connection, 3)
    assert not (await run(connection, ["storage-0"], drop=True))["dropped"]
    assert {"messages", "inbox"} <= set(await connection.database.list_collection_names())
    assert (await run(connection))["done"]
    assert {"messages", "inbox"} <= set(await connection.database.list_collection_names())
    assert (await run(connection, drop=True))["dropped"]
    assert not {"messages", "inbox"} & set(await connection.database.list_collection_names())
    await ensure_schema(connection)


async def test_a_cluster_that_stored_nothing_yet_needs_no_run(connection: MongoConnection) -> None:
    await FormerData(connection.database).create()
    assert await run(connection, drop=True) == {"done": True, "dropped": True}
    await ensure_schema(connection)
    assert await run(connection) == {"done": True, "dropped": False}


async def test_the_command_takes_over_and_says_so(real_backends: RealBackends, tmp_path: Path) -> None:
    name = f"migrated-{new_id()}"
    environment = {
        **clean_environment(),
        "TIDINGS_MONGODB_URI": real_backends.mongodb,
        "TIDINGS_MONGODB_DATABASE": name,
        "TIDINGS_ETCD": real_backends.etcd,
    }

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("tidings")
        return subprocess.run(
            [program, "migrate", "--cluster", name, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=tmp_path,
        )

    async with connected(
        real_backends.mongodb, name, SystemClock(), timeout_s=30, connections_max=2, name="test"
    ) as connection:
        try:
            former, _ = await former_of(connection, 3)
            outcome = await asyncio.to_thread(command)
            assert outcome.returncode == 0, outcome.stderr
            assert "126 messages and inbox entries are taken over" in outcome.stdout
            assert await read(mongo_repository(connection)) == await former.read()
            again = await asyncio.to_thread(command, "--drop", "--json")
            assert again.returncode == 0, again.stderr
            assert again.stdout.splitlines()[-1] == '{"done": true, "dropped": true}'
        finally:
            await connection.database.client.drop_database(name)
