"""The operator's calls: sessions, kicks, notices to everyone, drains, users, groups.

Guarantees: nothing is done without the operator's token (compared in constant time); a repeated call is harmless.
Group requests are done with all rules, as the group's owner.

Does not know: the `tidings` command, which makes these calls.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import admin_pb2, common_pb2, node_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.cluster import ClusterView
from services.common.rpc.contract import PeersPort
from services.common.telemetry import logs
from services.logic.changes.group_changes import GroupChanges
from services.logic.messages.sender import MessageSender
from services.logic.requests.dispatcher import Dispatcher
from services.logic.requests.request import ClientRequest
from services.logic.sessions.presence import live_sessions
from services.logic.sessions.sessions import ClientSessions
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.close import KICKED
from tidings_protocol.content import check_client_id, encode_content
from tidings_protocol.errors import BadRequest, NotFound, TidingsError, Unauthenticated
from tidings_protocol.ids import BROADCAST, check_user, message_id, new_id

DRAIN = "/tidings.internal.v1.Node/Drain"
SCHEME = "Bearer "

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AdminOptions:
    """Who the operator is, and how far a call may go.

    `token`: the operator's; empty: every call is refused. `content_bytes_max`: of a notice. `timeout_s`: of a call to a
    node.
    """

    token: str
    content_bytes_max: int
    timeout_s: float


class Admin:
    """What an operator may ask of any logic node. Each method raises TidingsError, and may be repeated."""

    def __init__(
        self,
        storage: StorageClient,
        sender: MessageSender,
        sessions: ClientSessions,
        dispatcher: Dispatcher,
        group_changes: GroupChanges,
        cluster: ClusterView,
        peers: PeersPort,
        options: AdminOptions,
    ) -> None:
        self._token = options.token.encode()
        self._storage = storage
        self._sender = sender
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._group_acts = group_changes
        self._cluster = cluster
        self._peers = peers
        self._options = options

    def check_token(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Raises Unauthenticated unless the call carries the operator's token."""
        if not self._token:
            raise Unauthenticated("operators' calls are off: set operator_token_file for the logic nodes")
        for name, value in metadata:
            text = value if isinstance(value, bytes) else value.encode()
            if name == "authorization" and hmac.compare_digest(text, SCHEME.encode() + self._token):
                return
        raise Unauthenticated("the operator's token is missing or wrong: give that of the nodes (--operator-token)")

    async def sessions(self, user: str) -> admin_pb2.AdminSessions:
        """The user's sessions on nodes that are alive."""
        return admin_pb2.AdminSessions(sessions=await self._live_sessions(user))

    async def kick(self, request: admin_pb2.KickRequest) -> admin_pb2.KickAnswer:
        """Ends the sessions of a user, or of one device; the answer says how many were there."""
        sessions = [
            session
            for session in await self._live_sessions(request.user)
            if not request.device or session.device == request.device
        ]
        kicked = await self._sessions.evict(sessions, KICKED, request.reason)
        log.info("sessions kicked", user=request.user, sessions=kicked)
        return admin_pb2.KickAnswer(kicked=kicked)

    async def broadcast(self, request: admin_pb2.BroadcastRequest) -> admin_pb2.BroadcastAnswer:
        """Stores a notice to everyone in b:all; with the same client id it is stored once."""
        client_id = request.client_id or new_id()
        check_client_id(client_id)
        try:
            content = client_pb2.Content.FromString(request.content)
        except DecodeError:
            raise BadRequest("the content cannot be read: send an encoded tidings.v1.Content") from None
        stored = await self._sender.announce(encode_content(content, self._options.content_bytes_max), client_id)
        log.info("notice sent to everyone", seq=stored.seq)
        return admin_pb2.BroadcastAnswer(
            message_id=message_id(BROADCAST, stored.seq),
            seq=stored.seq,
            time_ms=stored.time_ms,
            duplicate=stored.status == pb.StoreOutcome.DUPLICATE,
        )

    async def drain(self, request: admin_pb2.AdminDrain) -> common_pb2.Empty:
        """Asks a node of any kind to drain; returns when the node has begun, and does not wait for its end."""
        node = self._cluster.node(request.node)
        if node is None:
            there = ", ".join(sorted(node.name for node in self._cluster.membership.nodes))
            raise NotFound(f"there is no node {request.node}: name one of {there}")
        log.info("node asked to drain", target=request.node, pace_per_s=request.pace_per_s)
        return await self._peers.call(
            DRAIN,
            node_pb2.DrainRequest(pace_per_s=request.pace_per_s),
            common_pb2.Empty,
            node=node,
            timeout_s=self._options.timeout_s,
        )

    async def user(self, user: str) -> pb.UserRecord:
        """What storage knows of a user; `exists` is false for one that it does not know."""
        check_user(user)
        [record] = await self._storage.users([user])
        if isinstance(record, TidingsError):
            raise record
        return record

    async def group(self, request: admin_pb2.AdminGroup) -> admin_pb2.AdminGroupAnswer:
        """Does a group request as the group's owner. The answer is a frame, also when it is an error."""
        try:
            asked = client_pb2.GroupRequest.FromString(request.request)
        except DecodeError:
            raise BadRequest("the request cannot be read: send an encoded tidings.v1.GroupRequest") from None
        act = asked.WhichOneof("act")
        if act in {None, "create"}:
            actor = check_user(request.user)
        else:
            actor = await self._group_acts.owner_of(getattr(asked, act).conversation)
        frame = client_pb2.ClientFrame(group=asked)
        reply = await self._dispatcher.answer(ClientRequest(user=actor, session="", frame=frame, op=request.op))
        return admin_pb2.AdminGroupAnswer(frame=reply)

    async def _live_sessions(self, user: str) -> list[pb.SessionRecord]:
        check_user(user)
        [outcome] = await self._storage.sessions([user])
        if isinstance(outcome, TidingsError):
            raise outcome
        return live_sessions(outcome.sessions, self._cluster.alive)
