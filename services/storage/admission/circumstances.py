"""What a change of a group rests on besides the group: who is banned, who asks to join, an invite, former members.

It is read with the RPC Load (pages/loads.py), only for what was asked, and not where the group's document says that
there is nothing.

Guarantees: as the database is now, at the version of the group that is answered beside it, or a later one: then the
change is STALE.
Does not know: what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.storage.admission.admissions import invite_record
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Repository
from services.storage.repository.records import MemberKey

LoadItem = storage_pb2.LoadItem
LoadOutcome = storage_pb2.LoadOutcome
# As many as may ask; what is counted.
REQUESTS_MAX = 10_000


class Circumstances:
    def __init__(self, repository: Repository, conversations: ConversationStore, clock: Clock) -> None:
        self._members = repository.members
        self._ports = repository.groups
        self._conversations = conversations
        self._clock = clock

    async def add(
        self, conversation: CachedConversation, item: LoadItem, outcome: LoadOutcome, counted: dict[str, int]
    ) -> None:
        """Adds to the outcome what its item asks for besides members. `counted`: requests of groups that were counted
        for this call already. Raises Unavailable.
        """
        document = conversation.document
        keys = [MemberKey(conversation.id, user) for user in dict.fromkeys(item.users)]
        if document.dissolved:
            outcome.former.extend(key.user for key in await self._ports.dissolved.former(keys))
            return
        if item.bans and document.bans:
            outcome.banned.extend(key.user for key in await self._ports.bans.find(keys))
        if item.requests and document.asked_from:
            since = document.asked_from
            if conversation.id not in counted:
                counted[conversation.id] = await self._ports.requests.count(conversation.id, since, REQUESTS_MAX)
            outcome.requests = counted[conversation.id]
            strangers = [key for key in keys if key.user not in conversation.members]
            if outcome.requests and strangers:
                outcome.asking.extend(key.user for key in await self._ports.requests.find(strangers, since))
        if item.invite:
            await self._add_invite(conversation, item, outcome)
        if item.leaders and not conversation.knows_all:
            there = {member.user for member in outcome.members}
            for leader in await self._members.leaders(conversation.id):
                if leader.user not in there:
                    outcome.members.append(conversation.learn(leader).record())

    async def _add_invite(self, conversation: CachedConversation, item: LoadItem, outcome: LoadOutcome) -> None:
        invite = await self._ports.invites.find(conversation.id, item.invite, self._clock.wall_ms())
        if invite is None or not await self._conversations.lookup(conversation, [invite.by]):
            return
        used, is_second = 0, False
        if invite.uses:
            used = (await self._ports.invites.used(conversation.id, [invite.invite])).get(invite.invite, 0)
            is_second = await self._ports.invites.used_by(conversation.id, invite.invite, item.actor)
        outcome.invite.CopyFrom(invite_record(invite, used, used_by_actor=is_second))


async def former_of(repository: Repository, conversation: str, users: Sequence[str]) -> set[str]:
    """Those of the users who were members of this dissolved group at its end."""
    keys = [MemberKey(conversation, user) for user in users]
    return {key.user for key in await repository.groups.dissolved.former(keys)}
