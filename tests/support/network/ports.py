"""Ports for tests that must know theirs before anyone listens there.

Below those that the kernel gives to outgoing connections and to who asks for any: otherwise the next one that asks, in
this process or another, gets the very port that was just found free.
"""

from __future__ import annotations

import itertools
import os
import socket

_COUNT, _BLOCK = 1000, 40
# A range of them for each half of the tests, which run at the same time, and a block for each process in it.
_FIRST = 30_000 + _COUNT * int(os.environ.get("TIDINGS_X_PART", "0"))
_turns = itertools.count(os.getpid() * _BLOCK % _COUNT)


def free_port() -> int:
    """The next one of this process on loopback that is free."""
    while True:
        port = _FIRST + next(_turns) % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_address() -> str:
    """A free address, as host:port."""
    return f"127.0.0.1:{free_port()}"
