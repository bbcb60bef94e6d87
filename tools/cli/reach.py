"""How a person's command gets into the cluster: the access nodes' addresses, and tokens for one user.

By --url alone (with the secret of --secret-file, or of the data folder), by the data folder of a local stack, or by
etcd. The addresses are only where to begin: the servers send each client where its user belongs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tidings import DeviceKind, Kicked, NotConnected, Replaced, SessionEnded, TokenRefused
from tidings.client import Client
from tidings_protocol.errors import TidingsError
from tools.cli.failure import Failure, WrongUse
from tools.cli.target import Target, check_user, find

URL_SCHEMES = ("ws://", "wss://", "tcp://", "tcps://")
CONNECT_S = 15.0
CONNECT_MIN_S = 2.0  # less says nothing about a server
SEND_S = 30.0


@dataclass(frozen=True, slots=True)
class Reach:
    """`token` signs a new one at each call, so a command may run longer than a token lives.

    `connect_s`: for how long a server is looked for; entering the client then raises NotConnected.
    """

    urls: list[str]
    user: str
    token: Callable[[], str]
    connect_s: float = CONNECT_S

    def within(self, seconds: float) -> Reach:
        """This reach, for a command that has no more time than this."""
        return replace(self, connect_s=min(self.connect_s, max(CONNECT_MIN_S, seconds)))

    def client(
        self,
        device: str,
        *,
        kind: DeviceKind = DeviceKind.BOT,
        state: Path | None = None,
        send_timeout_s: float = SEND_S,
    ) -> Client:
        return Client(
            self.urls,
            token=self.token,
            device=device,
            kind=kind,
            state=state,
            connect_timeout_s=self.connect_s,
            send_timeout_s=send_timeout_s,
            name="tidings-cli/0.1",
        )


def reach(
    user: str, *, data: Path, etcd: str | None, cluster: str | None, secret_file: Path | None, url: str | None
) -> Reach:
    """Raises Failure."""
    check_user(user)
    if url:
        if not url.startswith(URL_SCHEMES):
            raise WrongUse(f"{url!r} is no address of an access node.", f"It begins with {' or '.join(URL_SCHEMES)}.")
        target = _signer(data, etcd, cluster, secret_file)
        urls = [url]
    else:
        target = find(data, etcd, cluster, secret_file)
        urls = addresses(target)
    target.token(user)  # a secret that is not there is told now, not after connecting
    return Reach(urls, user, lambda: target.token(user))


def _signer(data: Path, etcd: str | None, cluster: str | None, secret_file: Path | None) -> Target:
    if secret_file is not None:
        return Target(cluster or "local", etcd or "", secret_file, None, None)
    return find(data, etcd, cluster, secret_file, running=False)


def addresses(target: Target, transport: str = "ws") -> list[str]:
    """Addresses of the access nodes that are ready, in no order; `transport` is ws or tcp. Raises Failure."""
    if target.snapshot is not None:
        found = [
            _address(node["ws"], node["tcp"], transport)
            for node in target.snapshot["access"]
            if node["state"] == "ready"
        ]
    else:
        from tools.cli.cluster_view import run

        found = run(_registered(target, transport))
    if not found:
        raise Failure("No access node is ready.", "Look at `tidings status`.")
    random.shuffle(found)
    return found


async def _registered(target: Target, transport: str) -> list[str]:
    from tools.cli.cluster_view import view

    async with view(target) as cluster:
        nodes = [node for node in cluster.membership.nodes if node.kind == "access" and node.state == "ready"]
        return [_address(node.ws, node.tcp, transport) for node in nodes]


def _address(ws: str, tcp: str, transport: str) -> str:
    """One that the client library takes. A node has TLS for both transports, or for none."""
    if transport == "ws":
        return ws
    return f"{'tcps' if ws.startswith('wss://') else 'tcp'}://{tcp}"


def told(error: TidingsError) -> Failure:
    """What a person is told of an error of the client library."""
    match error:
        case NotConnected():
            return Failure(_sentence(error), "Is the cluster running? Look at `tidings status`.")
        case TokenRefused():
            return Failure(_sentence(error), "The token is signed with --secret-file for --cluster: are they right?")
        case Replaced():
            return Failure("The same device logged in elsewhere.", "End one of the two; the newest stays.")
        case Kicked():
            return Failure(_sentence(error), "Log in again, or ask the operator why.")
        case SessionEnded():
            return Failure(_sentence(error), "Is this command of the cluster's version?")
        case _:
            return Failure(_sentence(error), f"({error.code})")


def _sentence(error: TidingsError) -> str:
    return f"{error.message[:1].upper()}{error.message[1:].rstrip('.')}."
