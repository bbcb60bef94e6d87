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
Members = Annotated[
    int,
    typer.Option(
        "--mongodb-members",
        metavar="N",
        show_default="as the folder has, or 1",
        help="MongoDB as a replica set of N; 3 survive the loss of one. Kept with the data.",
    ),
]
Brokers = Annotated[
    int,
    typer.Option(
        "--kafka-brokers",
        metavar="N",
        show_default="as the folder has, or 1",
        help="Kafka as N brokers; 3 survive the loss of one. Kept with the data.",
    ),
]
Etcd = Annotated[
    str | None,
    typer.Option("--etcd", envvar="TIDINGS_ETCD", metavar="ADDRESS", help="A cluster by its etcd, instead of --data."),
]
ClusterName = Annotated[
    str | None,
    typer.Option("--cluster", envvar="TIDINGS_CLUSTER", metavar="NAME", help="Its name. [default: local]"),
]
SecretFile = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="The secret that signs tokens. [default: the local stack's]"),
]
OperatorToken = Annotated[
    str | None,
    typer.Option(
        "--operator-token",
        envvar="TIDINGS_OPERATOR_TOKEN",
        metavar="TOKEN",
        help="What operators show to the nodes. [default: the local stack's]",
    ),
]
