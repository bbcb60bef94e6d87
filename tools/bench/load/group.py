"""The workload `group`: some members of each group write, all the others are online and get it.

Counts deliveries: a message to a group of 1,000 is 999 of them. Members that are not told everything live fetch the
rest, as clients do: a small group's by the inbox, a large group's by its history.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tidings_protocol import client_pb2 as pb
from tools.bench.accounts.group_ledger import Attendance, GroupLog
from tools.bench.load.crowd import until
from tools.bench.load.load import ARRIVE_S, Load, Sender
from tools.bench.plan import Share
from tools.bench.users.frames import SENDER_STEP
from tools.bench.users.scan import Entry

FOUNDERS_MAX = 500  # members that a create or an add may name
FOUNDING_AT_ONCE = 8
QUIET_S = 2.0
PAGE_ENTRIES = 200


class Member(Sender):
    def __init__(self, run: GroupRun, index: int, token: tuple[str, str], group: Group) -> None:
        super().__init__(run, index, token)
        self.attendance = Attendance()
        self._run = run
        self.group = group

    def on_sent(self, number: int, seq: int) -> None:
        self.attendance.take(seq)
        self.group.log.see(seq, self.index * SENDER_STEP + number)
        super().on_sent(number, seq)

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        came = 0
        take, see, senders, delivered = self.attendance.take, self.group.log.see, self._run.users, self._run.delivered
        for _, seq, mark in entries:
            sender, number = divmod(mark, SENDER_STEP)
            if sender >= len(senders) or number >= len(senders[sender].due):
                continue
            see(seq, mark)
            if take(seq):
                came += 1
                if now is not None:
                    delivered.add(senders[sender].due[number], now)
        return came

    async def sync(self) -> int:
        came = await super().sync()
        more = self.group.large
        while more:
            after = self.attendance.upto
            asked = pb.History(conversation=self.group.id, after=after, limit=PAGE_ENTRIES)
            page = await self.fetch(pb.ClientFrame(history=asked))
            came += self.on_entries(page.entries, None)
            more = page.more and self.attendance.upto > after
        return came


class Group:
    """Its first member founds it; the first `senders` of them write."""

    def __init__(self) -> None:
        self.id = ""
        self.large = False
        self.log = GroupLog()
        self.members: list[Member] = []

    async def found(self) -> None:
        """All are members after this. Raises Failure."""
        founder, names = self.members[0], [member.name for member in self.members]
        create = pb.GroupRequest.Create(name="bench", members=names[:FOUNDERS_MAX])
        reply = await founder.ask(pb.ClientFrame(group=pb.GroupRequest(create=create)))
        self.id = reply.group_info.conversation
        for first in range(FOUNDERS_MAX, len(names), FOUNDERS_MAX):
            add = pb.GroupRequest.Add(conversation=self.id, users=names[first : first + FOUNDERS_MAX])
            await founder.ask(pb.ClientFrame(group=pb.GroupRequest(add=add)))
        await self.look()

    async def look(self) -> None:
        """Counting begins behind what is there now. Raises Failure."""
        info = pb.GroupRequest.Info(conversation=self.id)
        reply = await self.members[0].ask(pb.ClientFrame(group=pb.GroupRequest(info=info)))
        self.large = bool(reply.group_info.large_from)
        self.log = GroupLog(base=reply.group_info.head)
        for member in self.members:
            member.attendance.begin(reply.group_info.head)


class GroupRun(Load[Member]):
    """The share of one process: whole groups."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__(share, name)
        self.groups: list[Group] = []
        for index, token in enumerate(share.tokens):
            if index % share.plan.members == 0:
                self.groups.append(Group())
            member = self.member(index, token, self.groups[-1])
            self.groups[-1].members.append(member)
            self.users.append(member)
        self.senders = [member for group in self.groups for member in group.members[: max(1, share.plan.senders)]]

    def member(self, index: int, token: tuple[str, str], group: Group) -> Member:
        return Member(self, index, token, group)

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls):
            await self.found()
            yield

    async def found(self) -> None:
        """All groups are there after this. Raises Failure."""
        gate = asyncio.Semaphore(FOUNDING_AT_ONCE)

        async def found_one(group: Group) -> None:
            async with gate:
                await group.found()

        async with asyncio.TaskGroup() as tasks:
            for group in self.groups:
                tasks.create_task(found_one(group))
        for group in self.groups:
            for member in group.members:
                member.write_to(group.id)
        await asyncio.sleep(QUIET_S)  # what tells of the memberships arrives

    async def account(self) -> None:
        await until(self._all_there, ARRIVE_S)
        for group in self.groups:
            for member in group.members:
                if member.attendance.missing(group.log.head):
                    self.tally.repaired_by_sync += await member.sync()
        for group in self.groups:
            self._count(group)

    def _all_there(self) -> bool:
        return not any(member.attendance.missing(group.log.head) for group in self.groups for member in group.members)

    def _count(self, group: Group) -> None:
        tally, log = self.tally, group.log
        again = {member.index * SENDER_STEP + number for member in group.members for number in member.ledger.sent_again}
        tally.acknowledged += sum(member.ledger.acknowledged for member in group.members)
        tally.disagreeing += log.disagreeing
        tally.duplicates_after_dedupe += log.doubled
        tally.reordered_after_sort += log.misordered(SENDER_STEP, again)
        for member in group.members:
            tally.arrived += member.attendance.got
            tally.lost += member.attendance.missing(log.head)
            tally.duplicates_seen += member.attendance.repeated
            tally.reordered_seen += member.attendance.reordered
