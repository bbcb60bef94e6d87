"""Who keeps the members of groups from the stream of events has them right, whatever was lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.logic.harness import Logic
from tests.unit.logic.on_storage import acts_of, dies_before_it_tells, on_storage
from tidings_protocol import client_pb2

R = client_pb2.GroupRequest
USERS = [f"u{number}" for number in range(8)]

users = st.sampled_from(USERS)
some = st.lists(users, min_size=1, max_size=4, unique=True)
wanted = st.one_of(
    st.tuples(st.just("add"), some),
    st.tuples(st.just("remove"), some),
    st.tuples(st.just("join"), st.just(())),
    st.tuples(st.just("leave"), st.just(())),
)
# What becomes of the first try: it is told, or only a repeat is, as the access node or as the client makes it.
fates = st.sampled_from(["told", "repeated by the node", "repeated by the client"])


def request_of(group: str, act: str, named: Sequence[str]) -> R:
    match act:
        case "add":
            return R(add=R.Add(conversation=group, users=named))
        case "remove":
            return R(remove=R.Remove(conversation=group, users=named))
        case "join":
            return R(join=R.Join(conversation=group))
        case _:
            return R(leave=R.Leave(conversation=group))


class Consumer:
    """Another system that reads the stream."""

    def __init__(self) -> None:
        self.members: set[str] = set()

    def read(self, node: Logic) -> None:
        for act, _, named in acts_of(node):
            if act in {"create", "add", "join"}:
                self.members |= set(named)
            elif act in {"remove", "leave"}:
                self.members -= set(named)


async def members_of(node: Logic, group: str) -> set[str]:
    """The members as each of them is told."""
    found = set()
    for user in USERS:
        info = (await node.ask(user, group=R(info=R.Info(conversation=group)))).group_info
        if info.role != client_pb2.Member.ROLE_UNSPECIFIED:
            found.add(user)
    return found


async def live(founders: list[str], script: Sequence[tuple[str, tuple[str, Sequence[str]], str]]) -> None:
    async with on_storage() as node:
        consumer = Consumer()
        create = R(create=R.Create(members=founders, open=True, client_id="c"))
        group = (await node.ask("u0", "create", group=create)).group_info.conversation
        consumer.read(node)
        for number, (user, (act, named), fate) in enumerate(script):
            request = request_of(group, act, named)
            if fate == "told":
                await node.ask(user, f"op {number}", group=request)
            else:
                async with dies_before_it_tells(node):
                    await node.ask(user, f"op {number}", group=request)
                await node.ask(user, f"op {number}" if "node" in fate else f"again {number}", group=request)
            consumer.read(node)
        there = await members_of(node, group)
        info = (await node.ask("u0", group=R(info=R.Info(conversation=group)))).group_info
        assert info.member_count == len(there)
        assert consumer.members == there


@settings(max_examples=60, deadline=None)
@given(st.lists(users, max_size=7, unique=True), st.lists(st.tuples(users, wanted, fates), max_size=14))
def test_the_events_tell_who_is_in_a_group(
    founders: list[str], script: list[tuple[str, tuple[str, Sequence[str]], str]]
) -> None:
    asyncio.run(live(founders, script))
