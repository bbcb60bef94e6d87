"""MongoDB of the local stack: a replica set, so that write concern majority and journal mean what they mean.

Usually of one member, which is ready when it is the primary; of several each is ready when the set has a primary.
Addresses are part of its data: after a change of ports the set is told the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.cli.stack.ports import Ports, address
from tools.cli.stack.programs.probing import check_listens
from tools.cli.stack.programs.program import NotReadyError, plain_environment

if TYPE_CHECKING:  # imported where it is used: most commands of `tidings` do not need it, and it takes a while
    from pymongo import AsyncMongoClient

REPLICA_SET = "tidings"
NOT_YET_INITIALIZED = 94


@dataclass(frozen=True, slots=True)
class MongoDB:
    """`member` of `members`."""

    program: tuple[str, ...]
    ports: Ports
    data: Path
    inherited: Mapping[str, str]
    name: str = "mongodb"
    member: int = 0
    members: int = 1
    kind: str = "backend"
    stop_timeout_s: float = 30.0

    @property
    def here(self) -> str:
        return address(self.ports.mongodb_of(self.member))

    @property
    def addresses(self) -> Mapping[str, str]:
        return {"address": self.here}

    @property
    def listens(self) -> tuple[int, ...]:
        return (self.ports.mongodb_of(self.member),)

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        return [
            *self.program,
            f"--replSet={REPLICA_SET}",
            "--bind_ip=127.0.0.1",
            f"--port={self.ports.mongodb_of(self.member)}",
            f"--dbpath={self.data}",
            "--nounixsocket",
            f"--wiredTigerCacheSizeGB={0.5 if self.members == 1 else 0.25}",
            "--oplogSize=256",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            # A primary waits for others to take over before it stops; a single one has nobody to wait for.
            f"--setParameter=shutdownTimeoutMillisForSignaledShutdown={100 if self.members == 1 else 10_000}",
        ]

    def environment(self) -> Mapping[str, str]:
        return plain_environment(self.inherited)

    async def probe(self) -> None:
        from pymongo import AsyncMongoClient
        from pymongo.errors import PyMongoError

        await check_listens(self.here)
        try:
            async with AsyncMongoClient[dict[str, Any]](self.here, directConnection=True, **_QUICK) as client:
                hello = await client.admin.command("hello")
                if not hello.get("setName"):
                    if self.member == 0:
                        await _initiate_or_move(client, hosts(self.ports, self.members))
                    raise NotReadyError("mongod is making its replica set")
                if not hello.get("isWritablePrimary") and not (hello.get("secondary") and hello.get("primary")):
                    raise NotReadyError("the replica set is electing its primary")
        except PyMongoError as error:
            raise NotReadyError(f"mongod does not answer ({type(error).__name__})", silent=True) from error

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


def hosts(ports: Ports, members: int) -> list[str]:
    return [address(ports.mongodb_of(member)) for member in range(members)]


def uri_of(ports: Ports, members: int = 1) -> str:
    return f"mongodb://{','.join(hosts(ports, members))}/?replicaSet={REPLICA_SET}"


_QUICK: dict[str, Any] = {"serverSelectionTimeoutMS": 1000, "connectTimeoutMS": 1000, "socketTimeoutMS": 5000}


async def _initiate_or_move(client: AsyncMongoClient[dict[str, Any]], addresses: Sequence[str]) -> None:
    """A new set, or one whose ports are others than before: its members keep their order."""
    from pymongo.errors import OperationFailure

    members = [{"_id": number, "host": host} for number, host in enumerate(addresses)]
    try:
        current = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        settings = {"electionTimeoutMillis": 1000 if len(members) == 1 else 3000, "heartbeatIntervalMillis": 500}
        await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members, "settings": settings})
        return
    current["members"] = [{**old, "host": new["host"]} for old, new in zip(current["members"], members, strict=True)]
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
        raise NotReadyError(
            f"MongoDB does not answer ({type(error).__name__}: {str(error)[:200]})", silent=True
        ) from error
    if not hello.get("setName") and hello.get("msg") != "isdbgrid":
        raise NotReadyError("MongoDB is not a replica set, which write concern majority needs")
