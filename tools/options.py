"""The options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA_DEFAULT = Path(".tidings")

Data = Annotated[
    Path, typer.Option("--data", envvar="TIDINGS_DATA", metavar="DIR", help="The data folder of a local stack.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
PortBase = Annotated[
    int,
    typer.Option(
        "--port-base", envvar="TIDINGS_PORT_BASE", metavar="N", help="All ports lie in [N, N + 1000), on loopback only."
    ),
]
