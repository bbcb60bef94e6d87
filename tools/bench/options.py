"""The options of the workloads; those that all of them share are one value, `Shared`.

Guarantees: a workload declares only what is its own, and `sharing` adds the rest to what its --help says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json, SecretFile
from tools.cli.target import Target, find

REPORT_DEFAULT = Path("build/bench.json")

Users = Annotated[int, typer.Option("--users", metavar="N", help="Connected users.")]
Window = Annotated[int, typer.Option("--window", metavar="N", help="Unanswered sends of each sender.")]
Seconds = Annotated[float, typer.Option("--seconds", metavar="S", help="How long to measure.")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", help="Open loop: so many messages a second, whatever the answers do."),
]
Warmup = Annotated[float, typer.Option("--warmup", metavar="S", help="Load before it counts.")]
Size = Annotated[int, typer.Option("--size", metavar="BYTES", help="Of each text.")]
Processes = Annotated[int, typer.Option("--processes", metavar="N", help="Of the load generator.")]
Transport = Annotated[str, typer.Option("--transport", metavar="ws|tcp", help="How the users connect.")]
JsonClients = Annotated[
    float, typer.Option("--json-clients", metavar="SHARE", help="Of the users, from 0 to 1, speak JSON.")
]
Groups = Annotated[int, typer.Option("--groups", metavar="N", help="How many.")]
Page = Annotated[int, typer.Option("--page", metavar="N", help="Entries of a page.")]
Members = Annotated[int, typer.Option("--members", metavar="N", help="Of each group.")]
Report = Annotated[Path, typer.Option("--report", metavar="FILE", help="Where the figures go.")]
Compare = Annotated[
    Path | None,
    typer.Option("--compare", metavar="OLD.json", help="Show the ratios to an earlier report."),
]


@dataclass(frozen=True, slots=True)
class Shared:
    """What every workload is asked besides its own options: how it connects, to which cluster, where the figures go."""

    processes: Processes = 1
    transport: Transport = "ws"
    json_clients: JsonClients = 0.0
    report: Report = REPORT_DEFAULT
    compare: Compare = None
    data: Data = DATA_DEFAULT
    etcd: Etcd = None
    cluster: ClusterName = None
    secret_file: SecretFile = None
    json: Json = False

    def target(self) -> Target:
        """The cluster to load. Raises Failure."""
        return find(self.data, self.etcd, self.cluster, self.secret_file)


def sharing(function: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `Shared` after its own; `function` takes them as its first argument."""
    own = [*inspect.signature(function, eval_str=True).parameters.values()][1:]
    hints = get_type_hints(Shared, include_extras=True)
    theirs = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(Shared)
    ]

    @wraps(function)
    def command(**given: Any) -> None:
        function(Shared(**{each.name: given.pop(each.name) for each in theirs}), **given)

    parameters = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *theirs]
    vars(command)["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command
