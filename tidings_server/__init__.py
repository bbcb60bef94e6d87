"""The server under one name: `python -m tidings_server services.access` runs a node, `tidings` is its command.

The code says `services`, `protos` and `tools`, as its folders are called. Such names belong to nobody, so the wheel
puts them inside this package and installs this one name. Whoever imports it finds those folders first, in this process
alone.

Guarantees: another package called `services` or `tools` in the same environment neither is shadowed for others nor
shadows ours. Does not know: a checkout, where the folders lie beside this one and are found as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

INSIDE = Path(__file__).resolve().parent

if (INSIDE / "services").is_dir() and str(INSIDE) not in sys.path:
    sys.path.insert(0, str(INSIDE))


def program(module: str) -> tuple[str, ...]:
    """The command line that runs one of our modules, in a checkout as in an installation."""
    return (sys.executable, "-m", __name__, module)


def command() -> None:
    """The `tidings` command."""
    from tools.cli.main import main

    main()
