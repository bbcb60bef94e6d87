"""Calls between nodes: `Peers` makes them, `Router` sends them to the owner of a slot, `serve` answers them."""

from services.common.rpc.contract import Dropped, PeersPort, Service, TimedOut, Unreachable
from services.common.rpc.peers import Peers
from services.common.rpc.router import Router
from services.common.rpc.server import RpcServer, serve
from services.common.rpc.tls import Tls, tls_of

__all__ = [
    "Dropped",
    "Peers",
    "PeersPort",
    "Router",
    "RpcServer",
    "Service",
    "TimedOut",
    "Tls",
    "Unreachable",
    "serve",
    "tls_of",
]
