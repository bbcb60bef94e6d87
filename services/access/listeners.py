"""The listeners: how clients get in, and who of them. Their sockets come first, and they listen last.

A port that is taken, or a certificate that cannot be used, ends the node before anybody knows of it; and nobody is let
in before there is all that a connection works with.

Does not know: what the rooms of a node do (wiring.py).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from services.access.admission.addresses import AddressLimit, TrustedProxies, networks
from services.access.admission.admission import Admission, EarlyBytes, FrontDoor
from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.traffic import Traffic
from services.access.connections import ConnectionMetrics, Connections
from services.access.handshake.handshake import Handshake
from services.access.requests.requests import Requests
from services.access.session.heartbeat import TimingWheel
from services.access.session.session import SessionPolicy
from services.access.session_closer import SessionCloser
from services.access.transport.listening import StreamLimits, listen
from services.access.transport.server_tls import ServerTls
from services.access.transport.tcp import TcpServer
from services.access.transport.web_server import WebSocketServer
from services.access.wiring import Ground, Rooms
from services.common.certificates import Certificates


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets that clients come in by, and TLS for them."""

    ws: socket.socket
    tcp: socket.socket
    tls: ssl.SSLContext | None


def bind_sockets(ground: Ground) -> Sockets:
    """Binds the sockets, and reads the certificate. Raises OSError, ValueError."""
    settings, stack = ground.settings, ground.stack
    tls: ssl.SSLContext | None = None
    if settings.tls_certificate_file is not None:
        files = settings.tls_certificate_file, settings.tls_key_file
        server_tls = ServerTls(*files)
        tls = server_tls.context
        certificates = Certificates()
        certificates.watch("clients", *files, renew=server_tls.renew)
        ground.life.spawn(certificates.run(), name="clients' certificate")
    ws = listen(settings.ws_listen, send_buffer_bytes=settings.socket_send_buffer_bytes)
    stack.callback(ws.close)
    tcp = listen(settings.tcp_listen, send_buffer_bytes=settings.socket_send_buffer_bytes)
    stack.callback(tcp.close)
    return Sockets(ws, tcp, tls)


@dataclass(frozen=True, slots=True)
class ConnectionPorts:
    """What every connection works with: a NodePort."""

    policy: SessionPolicy
    now: Callable[[], float]
    wheel: TimingWheel[Connection]
    connections: Connections
    handshake: Handshake
    requests: Requests
    abuse: AbuseTracker
    closer: SessionCloser


async def open_listeners(ground: Ground, rooms: Rooms, sockets: Sockets) -> FrontDoor:
    """Listens on the sockets until the node ends; the door lets clients in once the node accepts connections."""
    settings, clock, node, clients = ground.settings, ground.ports.clock, rooms.node, rooms.clients
    trusted = TrustedProxies(networks(settings.trusted_proxies))
    door = FrontDoor(
        node.connections,
        Admission(per_s=settings.connections_per_s, handshakes_max=settings.handshakes_max),
        AddressLimit(trusted, settings.address_connections_per_s),
        EarlyBytes(settings.handshake_bytes_max),
        clock,
        connections_max=settings.connections_max,
        route=rooms.owners.placement.route,
    )
    ports = ConnectionPorts(
        node.policy,
        clock.now_s,
        node.connections.wheel,
        node.connections,
        clients.handshake,
        clients.requests,
        node.abuse,
        clients.closer,
    )
    limits = StreamLimits(
        settings.frame_bytes_max, settings.slow_consumer_bytes, settings.handshake_s, settings.linger_s
    )
    ws, tcp = Traffic("ws"), Traffic("tcp")
    await ground.enter(WebSocketServer(ports, door, ws, limits, sockets.ws, sockets.tls, trusted))
    await ground.enter(TcpServer(ports, door, tcp, limits, sockets.tcp, sockets.tls, trusted))
    shown = ConnectionMetrics(node.connections, node.hub, node.abuse, clock, (ws, tcp), door.under_way)
    ground.life.spawn(shown.run(), name="metrics of connections")
    return door
