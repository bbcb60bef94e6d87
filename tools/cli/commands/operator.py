"""What operators ask of a running cluster: sessions, kick, broadcast, drain. Each needs the operator's token."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tools.cli.failure import Failure, WrongUse
from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json, OperatorToken
from tools.cli.output import notes, put_json, results, safe
from tools.cli.stack.folder import Folder
from tools.cli.stack.policy import State
from tools.cli.stack.ports import NodeKind
from tools.cli.target import Target, check_user, find

DRAIN_S = 3700.0  # longer than any drain deadline
PROCESS_END_S = 60.0

User = Annotated[str, typer.Argument(metavar="USER")]


def sessions(
    user: User,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    operator_token: OperatorToken = None,
    json: Json = False,
) -> None:
    """Where a user is connected."""
    from protos.tidings.internal.v1.admin_pb2 import AdminUser
    from tidings_protocol.client_pb2 import Hello
    from tools.cli.cluster_view import CALL_S, ask_operator, run

    check_user(user)
    target = find(data, etcd, cluster, None, operator_token)
    answer = run(
        ask_operator(target, lambda admin, head: admin.Sessions(AdminUser(user=user), metadata=head, timeout=CALL_S))
    )
    found = [
        {
            "device": record.device,
            "kind": Hello.Kind.Name(record.kind) if record.kind in Hello.Kind.values() else str(record.kind),
            "node": record.node,
            "session": record.session,
            "since_ms": record.since_ms,
            "client": record.client,
            "address": record.address,
        }
        for record in answer.sessions
    ]
    if json:
        put_json({"user": user, "sessions": found})
        return
    for session in found:
        since = datetime.fromtimestamp(session["since_ms"] / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        by = f" from {session['address']}" if session["address"] else ""
        results.print(f"{safe(session['device'])} ({session['kind'].lower()}) on {session['node']} since {since}{by}")
    if not found:
        results.print(f"{user} is not connected.")


def kick(
    user: User,
    device: Annotated[str, typer.Option("--device", metavar="D", help="Only this device. [default: all]")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What the user is told.")] = "",
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    operator_token: OperatorToken = None,
    json: Json = False,
) -> None:
    """End a user's sessions; they may log in again."""
    from protos.tidings.internal.v1.admin_pb2 import KickRequest
    from tools.cli.cluster_view import CALL_S, ask_operator, run

    request = KickRequest(user=check_user(user), device=device, reason=reason)
    target = find(data, etcd, cluster, None, operator_token)
    answer = run(ask_operator(target, lambda admin, head: admin.Kick(request, metadata=head, timeout=CALL_S)))
    if json:
        put_json({"kicked": answer.kicked})
    else:
        results.print(f"Ended: {answer.kicked} session{'' if answer.kicked == 1 else 's'} of {user}.")


def broadcast(
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    operator_token: OperatorToken = None,
    json: Json = False,
) -> None:
    """Send a notice to everyone (b:all)."""
    from google.protobuf.json_format import MessageToDict

    from protos.tidings.internal.v1.admin_pb2 import BroadcastRequest
    from tidings_protocol.client_pb2 import Content, Sent
    from tidings_protocol.ids import BROADCAST, new_id
    from tools.cli.cluster_view import CALL_S, ask_operator, run

    if not text:
        raise WrongUse("The notice is empty.", "Give its text.")
    content = Content(text=text).SerializeToString()
    request = BroadcastRequest(content=content, client_id=new_id())
    target = find(data, etcd, cluster, None, operator_token)
    answer = run(ask_operator(target, lambda admin, head: admin.Broadcast(request, metadata=head, timeout=CALL_S)))
    sent = Sent(
        client_id=request.client_id,
        message_id=answer.message_id,
        conversation=BROADCAST,
        seq=answer.seq,
        time_ms=answer.time_ms,
        duplicate=answer.duplicate,
    )
    if json:
        put_json(MessageToDict(sent))
    else:
        results.print(f"Sent to everyone as number {answer.seq} of {BROADCAST}.")


def drain(
    node: Annotated[str, typer.Argument(metavar="NODE")],
    pace: Annotated[
        str, typer.Option("--pace", metavar="N/s", help="Goodbyes a second. [default: the node's setting]")
    ] = "",
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    operator_token: OperatorToken = None,
    json: Json = False,
) -> None:
    """Have a node's clients move over; then it ends and stays away. Returns when it has left."""
    from tools.cli.cluster_view import run

    pace_per_s = parse_pace(pace)
    target = find(data, etcd, cluster, None, operator_token)
    with notes.status(f"waiting for {node} to leave"):
        run(_drain(target, node, pace_per_s))
        _wait_for_its_process(target, node)
    if json:
        put_json({"drained": node})
    else:
        results.print(f"{node} has left. On a local stack `tidings restart {node}` brings it back.")


async def _drain(target: Target, name: str, pace_per_s: int) -> None:
    from protos.tidings.internal.v1.admin_pb2 import AdminDrain
    from tools.cli.cluster_view import CALL_S, ask_operator, view

    request = AdminDrain(node=name, pace_per_s=pace_per_s)
    async with view(target) as cluster:
        node = cluster.node(name)
        if node is None:
            known = ", ".join(sorted(node.name for node in cluster.membership.nodes))
            raise WrongUse(f"There is no node {name!r}.", f"Alive are: {known}." if known else "None is alive.")
        left = asyncio.Event()
        cluster.subscribe(
            lambda _, new: left.set() if all(other.boot_id != node.boot_id for other in new.nodes) else None
        )
        await ask_operator(target, lambda admin, head: admin.Drain(request, metadata=head, timeout=CALL_S))
        try:
            async with asyncio.timeout(DRAIN_S):
                await left.wait()
        except TimeoutError:
            raise Failure(f"{name} is still there after {DRAIN_S:.0f} s.", "Look at its log.") from None


def _wait_for_its_process(target: Target, name: str) -> None:
    """On a local stack: until `status` says that it is down, as it soon does."""
    until = time.monotonic() + PROCESS_END_S
    while target.snapshot is not None and time.monotonic() < until:
        state = Folder(Path(target.snapshot["data"])).load_state() or {}
        found = [node for kind in NodeKind for node in state.get(kind, ()) if node["name"] == name]
        if all(node["state"] == State.DOWN for node in found):
            return
        time.sleep(0.1)


def parse_pace(text: str) -> int:
    """20/s or 20: a whole number from 1 on; nothing: 0. Raises WrongUse."""
    if not text:
        return 0
    found = re.fullmatch(r"([1-9][0-9]{0,6})(/s)?", text)
    if found is None:
        raise WrongUse(f"--pace {text!r} is not like 20/s.", "Give a whole number of clients a second.")
    return int(found[1])
