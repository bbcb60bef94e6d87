"""Ports that somebody else has: found by trying to listen, named with the process where that can be known."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import psutil

from tools.cli.failure import Failure
from tools.cli.stack.ports import HOST


def check_free(ports: Iterable[int]) -> None:
    """Raises Failure that names the ports in use and who has them."""
    taken = [port for port in ports if not is_free(port)]
    if not taken:
        return
    named = ", ".join(f"{port} ({holder(port)})" for port in taken[:5])
    more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
    raise Failure(
        f"In use: port {named}{more}.",
        "End that program, or choose another range with --port-base.",
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):
        return "by a program of another user"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                return "by a program of another user"
            try:
                return f"by {psutil.Process(connection.pid).name()}, pid {connection.pid}"
            except psutil.Error:
                break
    return "by a program that cannot be named"
