"""Invites: made by whoever may add users to the group.

An invite is 128 bits of chance, which nobody guesses: whoever has it, and knows of which group, is let in (groups/
entering.py). It ends by its time, its uses, when it is withdrawn, and with its maker's membership.

Guarantees: a reply for each request, in their order; a repeat with the same `op` gives the first invite.

Does not know: how invites are kept (storage).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.scope import run_each
from services.logic.groups.entering import check_may_add
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import GroupPolicy
from services.logic.groups.needs import need_of
from services.logic.requests.groups.lists import invite_info
from services.logic.requests.request import ClientRequest, Reply
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import new_id

INVITE_BYTES = 16
DECISIONS_MAX = 5
CHANGING_RETRY_MS = 200
AT_ONCE = 16


class Invitations:
    """Makes the invites that batches of `group` requests with the act `invite` ask for."""

    def __init__(self, storage: StorageClient, loader: GroupLoader, policy: GroupPolicy) -> None:
        self._storage = storage
        self._loader = loader
        self._policy = policy

    async def invite(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """A reply for each request, in their order."""
        return await run_each(self._reply, requests, at_once=AT_ONCE)

    async def _reply(self, request: ClientRequest) -> Reply:
        try:
            return await self._invite(request)
        except TidingsError as error:
            return error

    async def _invite(self, request: ClientRequest) -> client_pb2.ServerFrame:
        asked, policy = request.frame.group.invite, self._policy
        need = need_of(request.frame.group, request.user, policy)
        assert need is not None
        op = request.op or new_id()
        for _ in range(DECISIONS_MAX):
            group = check_may_add(await self._loader.load_one(need), asked.conversation, request.user)
            invite = pb.AdmitItem.Invite(
                invite=os.urandom(INVITE_BYTES).hex(),
                by=request.user,
                op=op,
                ttl_s=asked.ttl_s or policy.invite_ttl_s,
                uses=asked.uses,
                version=group.version,
                own_max=policy.invites_of_member_max,
            )
            outcome = await self._storage.admit_one(pb.AdmitItem(conversation=asked.conversation, invite=invite))
            if not outcome.stale:
                return client_pb2.ServerFrame(invite_info=invite_info(asked.conversation, outcome.invites[0]))
            self._loader.forget(asked.conversation)
        raise Unavailable("the group is being changed by others: try again", CHANGING_RETRY_MS)
