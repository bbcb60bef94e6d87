"""MongoDB of the local stack: a replica set of one, so that write concern majority and journal mean what they mean.

Ready when it is the primary. Its own address is part of its data: after a change of ports the set is told the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.stack.ports import Ports, address
from tools.stack.probing import check_listens
from tools.stack.program import NotReadyError, plain_environment

if TYPE_CHECKING:  # imported where it is used: most commands of `tidings` do not need it, and it takes a while
    from pymongo import AsyncMongoClient

REPLICA_SET = "tidings"
NOT_YET_INITIALIZED = 94


@dataclass(frozen=True, slots=True)
class MongoDB:
    program: tuple[str, ...]
    ports: Ports
    data: Path
    inherited: Mapping[str, str]
    name: str = "mongodb"
    kind: str = "backend"
    stop_timeout_s: float = 30.0

    @property
    def addresses(self) -> Mapping[str, str]:
        return {"address": address(self.ports.mongodb)}

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        return [
            *self.program,
            f"--replSet={REPLICA_SET}",
            "--bind_ip=127.0.0.1",
            f"--port={self.ports.mongodb}",
            f"--dbpath={self.data}",
            "--nounixsocket",
            "--wiredTigerCacheSizeGB=0.5",
            "--oplogSize=256",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            # A primary waits 15 s for others to take over before it stops; there are none.
            "--setParameter=shutdownTimeoutMillisForSignaledShutdown=100",
        ]

    def environment(self) -> Mapping[str, str]:
        return plain_environment(self.inherited)

    async def probe(self) -> None:
        from pymongo import AsyncMongoClient
        from pymongo.errors import PyMongoError

        here = address(self.ports.mongodb)
        await check_listens(here)
        try:
            async with AsyncMongoClient[dict[str, Any]](here, directConnection=True, **_QUICK) as client:
                hello = await client.admin.command("hello")
                if not hello.get("setName"):
                    await _initiate_or_move(client, here)
                    raise NotReadyError("mongod is making its replica set")
                if not hello.get("isWritablePrimary"):
                    raise NotReadyError("mongod is electing itself")
        except PyMongoError as error:
            raise NotReadyError(f"mongod does not answer ({type(error).__name__})") from error

    def advice(self, last_lines: Sequence[str]) -> str:
        text = "\n".join(last_lines)
        if "cannot open shared object file" in text:
            return (
                "This mongod needs a library that this system does not have. Install MongoDB and set "
                "TIDINGS_PROGRAMS=path, or run one elsewhere and set TIDINGS_MONGODB_URI."
            )
        if "No space left" in text or "Insufficient free space" in text:
            return "The disk is full: make room."
        return "Its log says why; `tidings doctor` looks at the usual causes."


def uri_of(ports: Ports) -> str:
    return f"mongodb://{address(ports.mongodb)}/?replicaSet={REPLICA_SET}"


_QUICK: dict[str, Any] = {"serverSelectionTimeoutMS": 1000, "connectTimeoutMS": 1000, "socketTimeoutMS": 5000}


async def _initiate_or_move(client: AsyncMongoClient[dict[str, Any]], here: str) -> None:
    from pymongo.errors import OperationFailure

    member = {"_id": 0, "host": here}
    try:
        current = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        settings = {"electionTimeoutMillis": 1000}
        await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member], "settings": settings})
        return
    current["members"] = [{**current["members"][0], "host": here}]
    current["version"] += 1
    await client.admin.command("replSetReconfig", current, force=True)


async def probe_mongodb(uri: str) -> None:
    """A server that the user runs: it must have a primary, and be a replica set or a sharded cluster."""
    from pymongo import AsyncMongoClient
    from pymongo.errors import PyMongoError

    try:
        async with AsyncMongoClient[dict[str, Any]](uri, **{**_QUICK, "serverSelectionTimeoutMS": 3000}) as client:
            hello = await client.admin.command("hello")
    except PyMongoError as error:
        raise NotReadyError(f"MongoDB does not answer ({type(error).__name__}: {str(error)[:200]})") from error
    if not hello.get("setName") and hello.get("msg") != "isdbgrid":
        raise NotReadyError("MongoDB is not a replica set, which write concern majority needs")
