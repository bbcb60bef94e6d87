"""The commands about settings: what each one is, where it came from, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from services.common.settings.describe import describe
from services.common.settings.sources import SERVICES, Problem, SettingsError, load, settings_class
from tools.failure import WrongUse
from tools.options import DATA_DEFAULT, Data, Json
from tools.output import notes, put_json, results
from tools.stack.folder import Folder
from tools.stack.nodes import Node
from tools.stack.plan import Plan, addresses_of, wiring_of
from tools.stack.ports import BASE_DEFAULT, NodeKind, Ports
from tools.stack.programs import cache_folder
from tools.stack.variables import VARIABLES, for_nodes

config = typer.Typer(help="Every setting of the nodes and of the command.", no_args_is_help=True, add_completion=False)

Service = Annotated[
    str | None, typer.Option("--service", metavar="access|logic|storage", help="Only this service. [default: all]")
]
Deployed = Annotated[
    bool, typer.Option("--deployed", help="As a node outside a local stack sees them, without what that gives.")
]
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class View:
    """The environment that nodes are looked at in; on a local stack they also have what that gives them."""

    environment: Mapping[str, str]
    folder: Folder | None

    def of(self, service: str) -> Mapping[str, str]:
        """What a node of this service is started with."""
        given = self.environment
        if self.folder is None:
            return {"TIDINGS_NODE": f"{service}-0", **for_nodes(given)}  # the deployment names each node
        kind, ports = NodeKind(service), Ports(BASE_DEFAULT)
        wiring = wiring_of(Plan(BASE_DEFAULT, 1, 1, 1), self.folder, addresses_of(ports, given), given)
        settings = dict(Node(kind, 0, ports.node(kind, 0), wiring).environment())
        if "TIDINGS_OPERATOR_TOKEN_FILE" not in given and not self.folder.operator_token_file.exists():
            del settings["TIDINGS_OPERATOR_TOKEN_FILE"]  # `up` writes it; until then there is nothing to check
        return settings


@config.command()
def show(service: Service = None, deployed: Deployed = False, data: Data = DATA_DEFAULT, json: Json = False) -> None:
    """Print every setting: its value, where that came from, what it means."""
    view = _view(data, deployed=deployed)
    wrong = list(problems(_chosen(service), view))
    if wrong:
        _tell(wrong)
        raise typer.Exit(1)
    found = [row for name in _chosen(service) for row in _of_service(name, view)]
    if service is None:
        found += _of_command(os.environ)
    if json:
        put_json({"settings": found})
        return
    for name in dict.fromkeys(row["service"] for row in found):
        results.print(f"[bold]{name}[/bold]")
        for row in found:
            if row["service"] == name:
                _print_setting(row)


@config.command()
def check(service: Service = None, deployed: Deployed = False, data: Data = DATA_DEFAULT, json: Json = False) -> None:
    """Say what is wrong with the settings; exit 1 if anything is."""
    wrong = list(problems(_chosen(service), _view(data, deployed=deployed)))
    if json:
        put_json({"ok": not wrong, "problems": [asdict(problem) for problem in wrong]})
    elif wrong:
        _tell(wrong)
    else:
        results.print("The settings are fine.")
    if wrong:
        raise typer.Exit(1)


def problems(services: list[str], view: View) -> Iterator[Problem]:
    """What is wrong for any of the services, each mistake once."""
    seen = set()
    for service in services:
        try:
            load(settings_class(service), view.of(service))
        except SettingsError as error:
            for problem in error.problems:
                if problem not in seen:
                    seen.add(problem)
                    yield problem


def is_deployed(environment: Mapping[str, str]) -> bool:
    """Whether this is the environment of a node of a deployment, to which no local stack gives anything."""
    return "TIDINGS_NODE" in environment or environment.get("TIDINGS_PROFILE") == "production"


def _view(data: Path, *, deployed: bool) -> View:
    return View(os.environ, None if deployed or is_deployed(os.environ) else Folder.at(data))


def _of_service(service: str, view: View) -> list[dict[str, Any]]:
    rows = []
    for setting in describe(load(settings_class(service), view.of(service))):
        row = {"service": service, **asdict(setting)}
        if setting.origin == "environment" and setting.variable not in view.environment:
            row["origin"] = "local stack" if view.folder else "deployment"
        rows.append(row)
    return rows


def _of_command(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for variable in VARIABLES:
        given = environment.get(variable.name)
        value = given if given is not None else variable.default
        if variable.name == "TIDINGS_CACHE":
            value = str(cache_folder(environment))
        rows.append(
            {
                "service": "command",
                "name": variable.name.removeprefix("TIDINGS_").lower(),
                "variable": variable.name,
                "value": HIDDEN if variable.secret and given else value,
                "default": variable.default,
                "origin": "default" if given is None else "environment",
                "meaning": variable.meaning,
                "allowed": "",
            }
        )
    return rows


def _chosen(service: str | None) -> list[str]:
    if service is None:
        return list(SERVICES)
    if service not in SERVICES:
        raise WrongUse(f"There is no service {service!r}.", f"Say one of {', '.join(SERVICES)}.")
    return [service]


def _print_setting(row: dict[str, Any]) -> None:
    colour = "dim" if row["origin"] == "default" else "green"
    allowed = f" ({row['allowed']})" if row["allowed"] else ""
    results.print(f"  {row['variable']}={escape(row['value'])}  [{colour}]{row['origin']}[/{colour}]")
    results.print(f"      [dim]{escape(row['meaning'] + allowed)}[/dim]")


def _tell(wrong: list[Problem]) -> None:
    for problem in wrong:
        notes.print(f"[red]error:[/red] {escape(str(problem))}")
