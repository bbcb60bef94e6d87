"""What becomes of a process that ended, and which nodes a change of numbers adds and removes. Pure.

The rule: who was asked to leave stays away; who died comes back after a second. One that dies before it was ever ready
comes back more and more slowly; at the first start of the stack it is given up after a few tries.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tools.cli.failure import WrongUse
from tools.cli.stack.ports import NODES_MAX, NodeKind

RESTART_S = 1.0
RESTART_MAX_S = 10.0
FIRST_START_TRIES = 3
WRONG_SETTINGS = 2  # the exit code of a node that refuses its settings: another try cannot help


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    `draining`: it had said that it was leaving. `failures`: how often in a row it ended without having been ready,
    this time included.
    """

    code: int
    backend: bool
    draining: bool
    stop_asked: bool
    restart_allowed: bool
    failures: int


@dataclass(frozen=True, slots=True)
class Again:
    delay_s: float


@dataclass(frozen=True, slots=True)
class Stay:
    """The process stays down, as it was asked to."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The process stays down though nobody asked it to."""


def after_end(ended: Ended) -> Again | Stay | GivenUp:
    if ended.stop_asked:
        return Stay()
    left = ended.draining or ended.code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    if left and not ended.backend:
        return Stay()
    if not ended.restart_allowed and not ended.backend:
        return GivenUp()
    return Again(min(RESTART_S * 2 ** max(0, ended.failures - 1), RESTART_MAX_S))


def hopeless(ended: Ended) -> bool:
    """At the first start of the stack: whether to stop trying and tell the user."""
    return ended.failures > 0 and (
        ended.backend
        or ended.code == WRONG_SETTINGS
        or not ended.restart_allowed
        or ended.failures >= FIRST_START_TRIES
    )


@dataclass(frozen=True, slots=True)
class Change:
    """Numbers of nodes to add (in this order), and names to remove (in this order)."""

    add: tuple[tuple[NodeKind, int], ...] = ()
    remove: tuple[tuple[NodeKind, int], ...] = ()


def plan_scale(present: Mapping[NodeKind, Sequence[int]], wanted: Mapping[NodeKind, int]) -> Change:
    """The way from the present nodes to the wanted numbers: low indexes are filled, the highest go."""
    add: list[tuple[NodeKind, int]] = []
    remove: list[tuple[NodeKind, int]] = []
    for kind, number in wanted.items():
        add += [(kind, index) for index in range(number) if index not in present.get(kind, ())]
        remove += [(kind, index) for index in sorted(present.get(kind, ()), reverse=True) if index >= number]
    return Change(tuple(add), tuple(remove))


def parse_scale(arguments: Sequence[str]) -> dict[NodeKind, int]:
    """`access=3 logic=2`. Raises WrongUse."""
    wanted: dict[NodeKind, int] = {}
    for argument in arguments:
        name, _, number = argument.partition("=")
        if name not in list(NodeKind) or not number.isascii() or not number.isdigit():
            raise WrongUse(f"{argument!r} is not like access=3.", "The kinds are access, logic and storage.")
        kind = NodeKind(name)
        if kind in wanted:
            raise WrongUse(f"{name} is given twice.", "Give each kind once.")
        wanted[kind] = check_number(kind, int(number))
    if not wanted:
        raise WrongUse("Nothing to scale.", "Say for example: tidings scale access=3 logic=2.")
    return wanted


def check_number(kind: NodeKind, number: int) -> int:
    """Between 1 and what there are ports (and, for access, mailboxes) for. Raises WrongUse."""
    most = ACCESS_MAX if kind is NodeKind.ACCESS else NODES_MAX
    if not 1 <= number <= most:
        raise WrongUse(f"{number} {kind} nodes are not possible.", f"A local stack has 1 to {most} of them.")
    return number


ACCESS_MAX = 64  # one mailbox partition each
