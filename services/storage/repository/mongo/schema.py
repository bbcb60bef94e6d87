"""Collections, indexes and shard keys, as code.

`prepare` is idempotent and may run on several nodes at once. Every unique index begins with its collection's shard key,
and `prepare` shards the collections when it talks to a mongos. That layout was written for a sharded cluster and has
never been run on one: docs/operations.md says what would have to be true.

The log is clustered by `_id`: one B-tree less to write for each message (measured: 16 instead of 20 µs of mongod). The
price: `$in` and `$or` on the `_id` of a clustered collection scan everything between the lowest and the
highest value (measured on 6.0), so the adapters ask for each range on its own.

Does not know: what is in the documents (the adapters do).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import CollectionInvalid, OperationFailure

from tidings_protocol.errors import Internal

Document = dict[str, Any]

LOG, CONVERSATIONS, MEMBERS = "log", "conversations", "members"
CHANGES, SESSIONS, USERS, DEVICES, META = "changes", "sessions", "users", "devices", "meta"
REACTIONS, AHEAD, HIDDEN = "reactions", "ahead", "hidden"
PREFERENCES, BLOCKS, PROFILES = "preferences", "blocks", "profiles"
# What lies beside the members of groups.
BANS, INVITES, REQUESTS, PACES, DISSOLVED = "bans", "invites", "join_requests", "paces", "dissolved"

# Indexes that a query names, since the planner might take another one.
HELD, BY_TARGET, EXPIRY, STREAMS = "held", "target", "expiry", "streams"
REACTOR, TALLY, MARKED, LEADERS = "reactor", "tally", "marked", "leaders"

GONE_KEPT_S = 24 * 3600
CHANGE_KEPT_S = 24 * 3600
REACTION_GONE_KEPT_S = 3600
# Longer than a group can be slow.
PACE_KEPT_S = 25 * 3600
DEVICE_KEPT_S = 400 * 24 * 3600
_NAMESPACE_EXISTS, _ALREADY_SHARDED, _INDEX_CONFLICTS, _NO_SUCH_INDEX = 48, 20, (85, 86), 27


@dataclass(frozen=True, slots=True)
class Collection:
    shard_key: str
    clustered: bool = False
    indexes: tuple[IndexModel, ...] = field(default=())
    former: tuple[str, ...] = field(default=())  # indexes of earlier versions that others took the place of


SCHEMA: Mapping[str, Collection] = {
    LOG: Collection(
        "p",
        clustered=True,
        indexes=(
            # Only messages have `k`.
            IndexModel(
                [("p", ASCENDING), ("s", ASCENDING), ("k", ASCENDING)],
                name="client",
                unique=True,
                partialFilterExpression={"k": {"$exists": True}},
            ),
            # Only messages that are gone at some time have `xe`, until they are erased.
            IndexModel([("xe", ASCENDING)], name=EXPIRY, partialFilterExpression={"xe": {"$exists": True}}),
            # Only a CHANGE has `x`, the seq of what it changes: what it says is erased with that.
            IndexModel(
                [("p", ASCENDING), ("x", ASCENDING), ("_id", ASCENDING)],
                name=BY_TARGET,
                partialFilterExpression={"x": {"$exists": True}},
            ),
        ),
    ),
    CONVERSATIONS: Collection(
        "_id",
        # Only conversations with messages whose text grows have `st`.
        indexes=(IndexModel([("st", ASCENDING)], name=STREAMS, partialFilterExpression={"st": {"$exists": True}}),),
    ),
    MEMBERS: Collection(
        "c",
        indexes=(
            # Only who is a member has `u`.
            IndexModel(
                [("u", ASCENDING), ("l", ASCENDING)], name="user", partialFilterExpression={"u": {"$exists": True}}
            ),
            # A member who is gone is remembered for a day, so that no delayed write brings them back.
            IndexModel(
                [("x", ASCENDING)],
                name="gone",
                expireAfterSeconds=GONE_KEPT_S,
                partialFilterExpression={"x": {"$exists": True}},
            ),
            # Owners and admins of large groups, who are told of requests to join.
            IndexModel([("c", ASCENDING), ("r", ASCENDING)], name=LEADERS, partialFilterExpression={"r": {"$gt": 1}}),
        ),
    ),
    # By text, as members are: whoever has hidden something in a conversation is in one range.
    HIDDEN: Collection("c"),
    BANS: Collection(
        "c",
        indexes=(IndexModel([("x", ASCENDING)], name="gone", expireAfterSeconds=GONE_KEPT_S),),
    ),
    INVITES: Collection(
        "c",
        indexes=(
            IndexModel([("c", ASCENDING), ("t", ASCENDING), ("_id", ASCENDING)], name="age"),
            IndexModel(
                [("c", ASCENDING), ("b", ASCENDING)], name="maker", partialFilterExpression={"b": {"$exists": True}}
            ),
            # Only a use of one has `i`.
            IndexModel(
                [("c", ASCENDING), ("i", ASCENDING)], name="uses", partialFilterExpression={"i": {"$exists": True}}
            ),
            IndexModel([("x", ASCENDING)], name="over", expireAfterSeconds=0),
        ),
    ),
    REQUESTS: Collection(
        "c", indexes=(IndexModel([("c", ASCENDING), ("t", ASCENDING), ("_id", ASCENDING)], name="age"),)
    ),
    PACES: Collection("c", indexes=(IndexModel([("x", ASCENDING)], name="kept", expireAfterSeconds=PACE_KEPT_S),)),
    DISSOLVED: Collection("_id"),
    CHANGES: Collection(
        "c",
        # Whoever repeats a change does so within seconds.
        indexes=(IndexModel([("x", ASCENDING)], name="kept", expireAfterSeconds=CHANGE_KEPT_S),),
    ),
    SESSIONS: Collection(
        "u",
        indexes=(
            IndexModel([("u", ASCENDING)], name="user"),
            # An access node reads all of its own in pages, once a minute: each page begins where the last one ended.
            IndexModel([("b", ASCENDING), ("_id", ASCENDING)], name=HELD),
        ),
        former=("boot",),
    ),
    USERS: Collection("_id"),
    DEVICES: Collection(
        "u",
        indexes=(
            IndexModel([("u", ASCENDING), ("n", DESCENDING)], name="held"),
            # Devices come and go; one that said nothing for so long begins anew.
            IndexModel([("x", ASCENDING)], name="silent", expireAfterSeconds=DEVICE_KEPT_S),
        ),
    ),
    PREFERENCES: Collection(
        "u",
        indexes=(
            # Few have `n`: who has marked a conversation as unread.
            IndexModel([("c", ASCENDING)], name=MARKED, partialFilterExpression={"n": {"$exists": True}}),
        ),
    ),
    BLOCKS: Collection("u"),
    PROFILES: Collection("_id"),
    META: Collection("_id"),
    REACTIONS: Collection(
        "c",
        indexes=(
            IndexModel(
                [("c", ASCENDING), ("q", ASCENDING), ("u", ASCENDING), ("r", ASCENDING)], name=REACTOR, unique=True
            ),
            # All that counting needs, and the order of pages; what is gone has no `t`.
            IndexModel(
                [
                    ("c", ASCENDING),
                    ("q", ASCENDING),
                    ("r", ASCENDING),
                    ("t", ASCENDING),
                    ("u", ASCENDING),
                    ("f", ASCENDING),
                ],
                name=TALLY,
                partialFilterExpression={"t": {"$exists": True}},
            ),
            IndexModel(
                [("x", ASCENDING)],
                name="gone",
                expireAfterSeconds=REACTION_GONE_KEPT_S,
                partialFilterExpression={"x": {"$exists": True}},
            ),
        ),
    ),
    # Of the reactions of the last second.
    AHEAD: Collection("c"),
}


async def prepare(database: AsyncIOMotorDatabase[Document]) -> None:
    """Creates what is missing. Raises Internal, with what to do, if something else is in its place."""
    sharded = (await database.client.admin.command("hello")).get("msg") == "isdbgrid"
    if sharded:
        await database.client.admin.command("enableSharding", database.name)
    for name, collection in SCHEMA.items():
        await _create(database, name, collection)
        if sharded:
            await _shard(database, name, collection)


async def _create(database: AsyncIOMotorDatabase[Document], name: str, collection: Collection) -> None:
    options: Document = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}} if collection.clustered else {}
    try:
        await database.create_collection(name, **options)
    except CollectionInvalid:
        await _check(database, name, collection)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
        await _check(database, name, collection)
    if not collection.indexes:
        return
    try:
        await database[name].create_indexes(list(collection.indexes))
    except OperationFailure as error:
        if error.code in _INDEX_CONFLICTS:
            raise Internal(_in_the_way(database.name, name, "an index of another shape")) from error
        raise
    for former in collection.former:
        await _drop(database, name, former)


async def _drop(database: AsyncIOMotorDatabase[Document], name: str, index: str) -> None:
    try:
        await database[name].drop_index(index)
    except OperationFailure as error:
        if error.code != _NO_SUCH_INDEX:
            raise


async def _check(database: AsyncIOMotorDatabase[Document], name: str, collection: Collection) -> None:
    options = await database[name].options()
    if collection.clustered and "clusteredIndex" not in options:
        raise Internal(_in_the_way(database.name, name, "a collection that is not clustered"))


async def _shard(database: AsyncIOMotorDatabase[Document], name: str, collection: Collection) -> None:
    try:
        await database.client.admin.command("shardCollection", f"{database.name}.{name}", key={collection.shard_key: 1})
    except OperationFailure as error:
        if error.code != _ALREADY_SHARDED:
            raise


def _in_the_way(database: str, name: str, what: str) -> str:
    return f"MongoDB has {what} at {database}.{name}: give TIDINGS_MONGODB_DATABASE another name, or move it away"
