"""`python -m tests.support.cluster.node services.access`: a node whose links can be broken. It becomes the node."""

from __future__ import annotations

import os
import sys

from tests.support.cluster.wiring import settings_of


def main() -> None:
    environment = {**os.environ, **settings_of(os.environ)}
    os.execve(sys.executable, [sys.executable, "-m", sys.argv[1]], environment)


if __name__ == "__main__":
    main()
