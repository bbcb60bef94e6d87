"""Logic's shells on a real storage node, on the twin of its database: what depends on both is tested with these.

Does not know: gRPC, other nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import storage_pb2
from protos.tidings.v1 import events_pb2
from services.logic.messages.hooks import Hooks
from services.logic.people.blocks import Blocks
from services.logic.publishing.records import Publication
from services.storage.repository.memory import Database
from services.storage.rpc import StorageServicer
from tests.unit.logic.harness import Logic, logic
from tests.unit.storage.nodes import World
from tidings_protocol.errors import Unavailable

M = TypeVar("M", bound=Message)


@dataclass
class Called:
    """The `SlotCaller` of a StorageClient that has one storage node.

    `lose`: the next answers of these methods are lost. `forgets_to_look`: it is of an older version, which stores
    whatever it is asked to. `present`: sessions that are there without having been opened here.
    """

    servicer: StorageServicer
    lose: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    forgets_to_look: bool = False
    present: dict[tuple[str, str], str] = field(default_factory=dict)
    database: Database = field(default_factory=Database)
    seen: int = 0  # changes of groups

    async def call(
        self, slot: int, method: str, request: Message, reply_type: type[M], *, timeout_s: float, budget_s: float
    ) -> M:
        name = method.rpartition("/")[2]
        self.calls.append(name)
        asked: Any = type(request).FromString(request.SerializeToString())
        if self.forgets_to_look and name == "Store":
            for item in asked.items:
                item.only_look = False
        answer: Any = await getattr(self.servicer, name)(asked, None)
        if name == "Sessions":
            for user, outcome in zip(asked.keys, answer.outcomes, strict=True):
                for (present, device), session in self.present.items():
                    if present == user:
                        outcome.sessions.add(user=user, device=device, session=session)
        if name in self.lose:
            self.lose.remove(name)
            raise Unavailable("no answer")
        return reply_type.FromString(answer.SerializeToString())


@asynccontextmanager
async def on_storage(
    world: World | None = None,
    *,
    hooks: Hooks | None = None,
    own_profile: bool = True,
    blocks: Blocks | None = None,
) -> AsyncIterator[Logic]:
    """A logic node that knows nothing yet, on a storage node of this world."""
    world = world or World()
    async with (
        world.node(),
        logic(
            hooks=hooks,
            own_profile=own_profile,
            storage=Called(world.hood.nodes["one"], database=world.database),
            blocks=blocks,
            clock=world.clock,
        ) as node,
    ):
        yield node


def database_of(node: Logic) -> Database:
    """What is durable under a node that `on_storage` gave."""
    called: Any = node.storage
    assert isinstance(called, Called)
    return called.database


@asynccontextmanager
async def dies_before_it_tells(node: Logic) -> AsyncIterator[None]:
    """The handler is cancelled between what storage does and its publication, as by the deadline of its caller."""
    publish = node.publisher.publish

    async def die(_: Publication) -> bool:
        raise asyncio.CancelledError

    node.publisher.publish = die  # type: ignore[method-assign,assignment]
    try:
        yield
    except asyncio.CancelledError:
        pass
    finally:
        node.publisher.publish = publish  # type: ignore[method-assign]


def acts_of(node: Logic) -> Sequence[tuple[str, str, tuple[str, ...]]]:
    """(act, by, users) of what storage has made since the last look: its events tell of it."""
    called: Any = node.storage
    made = _changes_in(called.database)
    new, called.seen = made[called.seen :], len(made)
    acts = [events_pb2.Membership.FromString(act) for change in new for act in change.acts]
    return [(act.act, act.by, tuple(act.users)) for act in acts]


def _changes_in(database: Database) -> list[storage_pb2.ChangeItem]:
    """Those that a notice carries, then those without one; each kind in the order of one group."""
    carried = [message.change for log in database.messages.values() for _, message in sorted(log.items())]
    kept = [made.change for made in database.changes.values()]
    return [storage_pb2.ChangeItem.FromString(change) for change in (*carried, *kept) if change]
