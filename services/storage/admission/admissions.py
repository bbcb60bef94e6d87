"""The RPC Admit: what lies beside a group's members is made, dropped and listed.

    invite, uninvite, ask, drop ─▶ what is asked is right for the group as this node has it ─▶ the repository
    invites, requests, banned   ─▶ pages from the repository

None of this is a change of the group: nobody's message is told on another version for it. What a change of the group
does here (who is banned, whose invites end, whose requests fall) is written with the change (loading/beside.py).

Guarantees: outcomes are aligned with the items, each may have a fault of its own; repeating an item does no harm. What
is made has the stamp of the group's document, so a change that ends it later finds it; an invite or request that was
decided on another version than the present one is STALE. Requests of one group are counted and made one after the
other on a node: their bound holds.
Does not know: who may do what (logic decides that).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.rpc.faults import to_fault
from services.common.scope import run_all
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Repository
from services.storage.repository.group_records import InviteDocument, JoinRequestDocument
from services.storage.repository.records import MemberKey
from tidings_protocol.errors import BadRequest, Overloaded, TidingsError

AdmitItem = storage_pb2.AdmitItem
AdmitOutcome = storage_pb2.AdmitOutcome

# When a place among those who ask may be free again.
FULL_RETRY_MS = 60_000
PAGE_MAX = 500
# Items of one call that are done at the same time.
AT_ONCE = 16


class Admissions:
    def __init__(self, repository: Repository, conversations: ConversationStore, clock: Clock) -> None:
        self._conversations = conversations
        self._members = repository.members
        self._ports = repository.groups
        self._clock = clock
        # By the groups' slots: those of one group wait for each other, and hardly those of another.
        self._asking = [asyncio.Lock() for _ in range(64)]

    async def admit(self, items: Sequence[AdmitItem]) -> list[AdmitOutcome]:
        """Does what each item says. A cancellation may leave some of them done."""
        conversations = await self._conversations.get({item.conversation for item in items})
        outcomes: list[AdmitOutcome] = []
        for start in range(0, len(items), AT_ONCE):
            some = items[start : start + AT_ONCE]
            outcomes += await run_all(*(self._outcome(conversations[item.conversation], item) for item in some))
        return outcomes

    async def _outcome(self, conversation: CachedConversation | TidingsError, item: AdmitItem) -> AdmitOutcome:
        try:
            if isinstance(conversation, TidingsError):
                raise conversation
            return await self._admit(conversation, item)
        except TidingsError as error:
            return AdmitOutcome(fault=to_fault(error))

    async def _admit(self, conversation: CachedConversation, item: AdmitItem) -> AdmitOutcome:
        match item.WhichOneof("act"):
            case "ask":
                return await self._ask(conversation, item.ask)
            case "drop":
                return await self._drop(conversation, item.drop.users)
            case "invite":
                return await self._invite(conversation, item.invite)
            case "uninvite":
                by = [item.uninvite.by] if item.uninvite.by else None
                below = conversation.document.stamp + 1
                await self._ports.invites.end(conversation.id, invite=item.uninvite.invite, by=by, below=below)
                return AdmitOutcome()
            case "requests":
                return await self._requests(conversation, item.requests)
            case "invites":
                return await self._invites(conversation.id, item.invites)
            case "banned":
                limit = min(item.banned.limit or PAGE_MAX, PAGE_MAX)
                users = await self._ports.bans.page(conversation.id, item.banned.after, limit + 1)
                shown = users[:limit]
                return AdmitOutcome(users=shown, next=shown[-1] if shown else "", more=len(users) > limit)
            case act:
                raise BadRequest(f"{act} is no act of Admit: this is a defect of the logic node")

    # ---- requests to join

    async def _ask(self, conversation: CachedConversation, ask: AdmitItem.Ask) -> AdmitOutcome:
        document = conversation.document
        if document.version != ask.version or not document.asked_from:
            return AdmitOutcome(stale=True)
        async with self._asking[conversation.slot % len(self._asking)]:
            key = MemberKey(conversation.id, ask.user)
            if not await self._ports.requests.find([key], document.asked_from):
                there = await self._ports.requests.count(conversation.id, document.asked_from, ask.open_max)
                if there >= ask.open_max:
                    raise Overloaded(
                        f"{there} users ask to join {conversation.id} already: ask again later", FULL_RETRY_MS
                    )
            now_ms = self._clock.wall_ms()
            request = JoinRequestDocument(conversation.id, ask.user, ask.text, now_ms, document.stamp)
            await self._ports.requests.ask(request, document.asked_from)
        return AdmitOutcome()

    async def _drop(self, conversation: CachedConversation, users: Sequence[str]) -> AdmitOutcome:
        document = conversation.document
        keys = [MemberKey(conversation.id, user) for user in users]
        asking = await self._ports.requests.find(keys, document.asked_from)
        await self._ports.requests.drop(conversation.id, users, document.stamp + 1)
        return AdmitOutcome(users=[key.user for key in keys if key in asking])

    async def _requests(self, conversation: CachedConversation, page: AdmitItem.Page) -> AdmitOutcome:
        """A page of the requests. One of who has got in meanwhile is dropped: it came in while the change was made."""
        document, limit = conversation.document, min(page.limit or PAGE_MAX, PAGE_MAX)
        if not document.asked_from:
            return AdmitOutcome()
        found = await self._ports.requests.page(conversation.id, document.asked_from, _place(page.after), limit + 1)
        shown = found[:limit]
        inside = await self._conversations.lookup(conversation, [each.user for each in shown])
        if inside:
            await self._ports.requests.drop(conversation.id, list(inside), document.stamp + 1)
        return AdmitOutcome(
            requests=[
                storage_pb2.JoinRequestRecord(user=each.user, text=each.text, time_ms=each.time_ms)
                for each in shown
                if each.user not in inside
            ],
            next=f"{shown[-1].time_ms} {shown[-1].user}" if shown else "",
            more=len(found) > limit,
        )

    # ---- invites

    async def _invite(self, conversation: CachedConversation, invite: AdmitItem.Invite) -> AdmitOutcome:
        document, now_ms = conversation.document, self._clock.wall_ms()
        if document.version != invite.version:
            return AdmitOutcome(stale=True)
        own = await self._ports.invites.made_by(conversation.id, invite.by, now_ms, invite.own_max)
        made = next((each for each in own if each.op == invite.op), None)
        if made is None:
            if len(own) >= invite.own_max:
                raise BadRequest(
                    f"you have {len(own)} invites to {conversation.id}, which is as many as one may have: withdraw some"
                )
            made = InviteDocument(
                conversation.id,
                invite.invite,
                invite.by,
                now_ms,
                now_ms + 1000 * invite.ttl_s,
                invite.uses,
                invite.op,
                document.stamp,
            )
            await self._ports.invites.make(made)
        return AdmitOutcome(invites=[invite_record(made, 0)])

    async def _invites(self, conversation: str, page: AdmitItem.Page) -> AdmitOutcome:
        limit = min(page.limit or PAGE_MAX, PAGE_MAX)
        found = await self._ports.invites.page(
            conversation, _place(page.after), page.by, self._clock.wall_ms(), limit + 1
        )
        shown = found[:limit]
        used = await self._ports.invites.used(conversation, [each.invite for each in shown if each.uses])
        return AdmitOutcome(
            invites=[invite_record(each, used.get(each.invite, 0)) for each in shown],
            next=f"{shown[-1].time_ms} {shown[-1].invite}" if shown else "",
            more=len(found) > limit,
        )


def invite_record(invite: InviteDocument, used: int, *, used_by_actor: bool = False) -> storage_pb2.InviteRecord:
    """The invite as logic gets it."""
    return storage_pb2.InviteRecord(
        invite=invite.invite,
        by=invite.by,
        expires_ms=invite.expires_ms,
        uses=invite.uses,
        used=used,
        used_by_actor=used_by_actor,
        time_ms=invite.time_ms,
    )


def _place(after: str) -> tuple[int, str]:
    """Where a page begins: behind this time and name. Raises BadRequest for what no page has given."""
    if not after:
        return 0, ""
    time_ms, _, name = after.partition(" ")
    if not (time_ms.isascii() and time_ms.isdigit() and len(time_ms) < 16):
        raise BadRequest("`after` is not from a page: give the `next` of the page before, or leave it out")
    return int(time_ms), name
