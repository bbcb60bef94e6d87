"""The settings of the command and of the local stack themselves. Nodes never see them: theirs are in the services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    default: str
    meaning: str
    secret: bool = False


VARIABLES = (
    Variable("TIDINGS_DATA", ".tidings", "The data folder of the local stack that a command is for (--data)."),
    Variable("TIDINGS_ETCD", "", "Addresses of the etcd of the cluster that a command is for (--etcd)."),
    Variable("TIDINGS_OPERATOR_TOKEN", "", "What operators show to the nodes (--operator-token).", secret=True),
    Variable("TIDINGS_PORT_BASE", "8000", "The first of the 1000 ports of `tidings up` (--port-base)."),
    Variable(
        "TIDINGS_PROGRAMS",
        "own",
        "`own`: the local stack runs the etcd, Kafka and mongod that `make setup` brings; `path`: those on PATH.",
    ),
    Variable(
        "TIDINGS_CACHE",
        "~/.cache/tidings",
        "Where Kafka's jars are kept, so that a set-up needs the network only once.",
    ),
)

NOT_FOR_NODES = frozenset(variable.name for variable in VARIABLES)


def for_nodes(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without them."""
    return {name: value for name, value in environment.items() if name not in NOT_FOR_NODES}
