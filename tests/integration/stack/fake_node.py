"""Stands for a node: is ready after a moment, drains for a moment at SIGTERM, and dies or refuses when it is told so.

Run by the stack as `python fake_node.py services.access`. TIDINGS_X_FAKE: "crash" ends before it is ready, "wrong" ends
as a node with wrong settings does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

draining = threading.Event()


class Ops(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/settings":
            self._answer(200, json.dumps(dict(os.environ)))
        elif draining.is_set():
            self._answer(503, "drain: the node is draining")
        else:
            self._answer(200, "ready")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main() -> int:
    behaviour = os.environ.get("TIDINGS_X_FAKE", "")
    if behaviour in ("crash", "wrong"):
        sys.stderr.write("the fake node was told to fail\n")
        return 2 if behaviour == "wrong" else 7
    host, _, port = os.environ["TIDINGS_OPS_LISTEN"].rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Ops)
    signal.signal(signal.SIGTERM, lambda *_: draining.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    draining.wait()
    time.sleep(float(os.environ.get("TIDINGS_X_FAKE_DRAIN_S", "0.1")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
