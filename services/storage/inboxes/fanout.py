"""Inbox entries for the recipients of messages, each by the node that owns the user.

Guarantees: what `append` gives a number is durable. If the owner does not answer, or cannot append now (its
database is out of its reach), this node appends itself: the unique numbers make that harmless, and the entry is looked
for first.
Does not know: who the recipients should be.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import from_fault
from services.common.rpc.spread import spread
from services.storage.inboxes.numbering import Append
from services.storage.inboxes.writer import InboxWriter, Number
from services.storage.owners.peers import NotAttempted, StoragePeers
from tidings_protocol.errors import TidingsError, Unavailable

# Entries of one call: some 50 ms of another node, which has a third of `store_budget_s` to answer in.
APPEND_MAX = 1000


class InboxFanout:
    def __init__(self, inboxes: InboxWriter, peers: StoragePeers) -> None:
        self._inboxes = inboxes
        self._peers = peers

    async def append(self, appends: Sequence[Append]) -> list[Number]:
        """Appends entries, each at the owner of its user. The number of each, aligned, or why there is none; 0 for what
        was only looked for in vain.

        If this is cancelled, entries may be there all the same: repeat them with `again`.
        """
        users = [append.user for append in appends]
        return list(await spread(appends, users, self._peers.owner_of, self._append_at))

    async def _append_at(self, owner: str | None, _slot: int, appends: Sequence[Append]) -> list[Number]:
        """Appends one part after the other. Each takes a small share of the time that another node has to answer in, so
        that a node which is slow with very many is not taken for dead, which would mean two writers for its users.
        """
        if owner is None:
            return await self._inboxes.append(appends)
        numbers: list[Number] = []
        for start in range(0, len(appends), APPEND_MAX):
            part, rest = appends[start : start + APPEND_MAX], appends[start + APPEND_MAX :]
            try:
                found = await self._append_part(owner, part)
            except NotAttempted:
                return [*numbers, *await self._append_here((), appends[start:])]
            if found is None:  # it does not answer, or its database is away: perhaps this part was done
                return [*numbers, *await self._append_here(part, rest)]
            numbers += found
        return numbers

    async def _append_part(self, owner: str, appends: Sequence[Append]) -> list[Number] | None:
        """The numbers from the owner. None: this node is to append them, and to look first. Raises NotAttempted if
        there is nothing to look for.
        """
        batch = storage_pb2.AppendBatch(
            items=[
                storage_pb2.AppendItem(
                    user=append.user,
                    conversation=append.conversation,
                    seq=append.seq,
                    time_ms=append.time_ms,
                    again=append.again,
                    only_look=append.only_look,
                    quiet=append.quiet,
                )
                for append in appends
            ]
        )
        try:
            outcomes = await self._peers.append(owner, batch)
        except NotAttempted:
            raise
        except TidingsError:
            return None
        failure: TidingsError | None = from_fault(outcomes.fault) if outcomes.HasField("fault") else None
        if isinstance(failure, Unavailable):
            return None
        return [
            failure if failure is not None and not number and not append.only_look else number
            for number, append in zip(outcomes.numbers, appends, strict=True)
        ]

    async def _append_here(self, doubtful: Sequence[Append], others: Sequence[Append]) -> list[Number]:
        """Appends these in the owner's place; the doubtful ones, which may be there, are looked for first."""
        again = [append._replace(again=True) for append in doubtful]
        return await self._inboxes.append([*again, *others])
