"""The commands of the local stack: up, down, status, scale, restart, and the backends alone."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from tools.cli.failure import Failure
from tools.cli.options import DATA_DEFAULT, Brokers, Data, Json, Members, PortBase
from tools.cli.output import notes, put_json, results
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import control, orphans
from tools.cli.stack.plan import Plan
from tools.cli.stack.policy import parse_scale
from tools.cli.stack.ports import BASE_DEFAULT
from tools.cli.stack.steps import Steps, show_addresses, show_status

ANSWER_S = 5.0
STOP_S = 300.0
CHANGE_S = 1800.0

Detach = Annotated[bool, typer.Option("--detach", help="Return when all is ready; the cluster lives on.")]

backends = typer.Typer(
    help="The backends alone, for tests and tools of your own.", no_args_is_help=True, add_completion=False
)


def up(
    access: Annotated[int, typer.Option(metavar="N", help="How many access nodes.")] = 2,
    logic: Annotated[int, typer.Option(metavar="N", help="How many logic nodes.")] = 1,
    storage: Annotated[int, typer.Option(metavar="N", help="How many storage nodes.")] = 1,
    port_base: PortBase = BASE_DEFAULT,
    placement: Annotated[
        str | None, typer.Option(metavar="ring|any", help="Whether clients are sent to the node that owns them.")
    ] = None,
    detach: Detach = False,
    no_restart: Annotated[bool, typer.Option("--no-restart", help="Leave a node that dies as it is.")] = False,
    mongodb_members: Members = 0,
    kafka_brokers: Brokers = 0,
    data: Data = DATA_DEFAULT,
    json: Json = False,
) -> None:
    """Start the backends and the nodes, and keep them running."""
    plan = Plan(port_base, access, logic, storage, placement, not no_restart, mongodb_members, kafka_brokers)
    folder = Folder.at(data)
    plan.check_numbers().check()
    _check_settings(folder)
    _start(plan, folder, detach=detach, json=json)


def _check_settings(folder: Folder) -> None:
    """Before anything is started: what a node would refuse. Raises Failure."""
    from services.common.settings.sources import SERVICES
    from tools.cli.commands.config import View, problems

    if wrong := list(problems(list(SERVICES), View(os.environ, folder))):
        raise Failure(
            "The settings are wrong: " + "; ".join(str(problem) for problem in wrong) + ".",
            "Correct them; docs/configuration.md explains each.",
        )


@backends.command("up")
def backends_up(
    port_base: PortBase = BASE_DEFAULT,
    detach: Annotated[bool, typer.Option("--detach/--foreground", help="Return when all are ready.")] = True,
    mongodb_members: Members = 0,
    kafka_brokers: Brokers = 0,
    data: Data = DATA_DEFAULT,
    json: Json = False,
) -> None:
    """Start etcd, Kafka and MongoDB without any node."""
    plan = Plan(port_base, 0, 0, 0, None, True, mongodb_members, kafka_brokers)
    _start(plan.check(), Folder.at(data), detach=detach, json=json)


def _start(plan: Plan, folder: Folder, *, detach: bool, json: bool) -> None:
    from tools.cli.stack.keeping import launch

    def announce(snapshot: dict[str, Any]) -> None:
        if json:
            put_json(public(snapshot))
        else:
            show_addresses(snapshot, detached=detach)

    with Steps() as steps:
        if detach:
            snapshot = launch.run_detached(plan, folder, os.environ, steps.show)
        else:
            launch.run_here(plan, folder, os.environ, steps.show, announce)
            return
    announce(snapshot)


@backends.command("down")
def backends_down(
    data: Data = DATA_DEFAULT,
    purge: Annotated[bool, typer.Option("--purge", help="Then remove the data folder with all that is in it.")] = False,
    json: Json = False,
) -> None:
    """Stop etcd, Kafka and MongoDB; nodes that run with them are stopped first."""
    down(data=data, purge=purge, json=json)


def down(
    data: Data = DATA_DEFAULT,
    purge: Annotated[bool, typer.Option("--purge", help="Then remove the data folder with all that is in it.")] = False,
    json: Json = False,
) -> None:
    """Stop all, in order: access, logic, storage, then the backends."""
    from tools.cli.stack.keeping.launch import wait_until_free

    folder = Folder.at(data)
    was_running = folder.is_ours and _stop_supervisor(folder, wait_until_free)
    left = orphans.find(folder.path) if folder.is_ours else []
    orphans.end(left)
    if purge:
        folder.purge()
    if json:
        put_json({"stopped": was_running or bool(left), "purged": purge})
    elif was_running or left:
        results.print("All is stopped.")
    else:
        results.print(f"Nothing runs on {folder.path}.")


def _stop_supervisor(folder: Folder, wait_until_free: Any) -> bool:
    if not folder.is_locked():
        return False
    try:
        control.ask(folder, {"command": "down"}, timeout_s=ANSWER_S)
    except control.NoSupervisor:
        if not wait_until_free(folder, ANSWER_S):  # it is about to start or to end, or it hangs
            raise Failure(
                f"The supervisor of {folder.path} does not answer.",
                f"End it (its pid is in {folder.state_file}), then say `tidings down` again.",
            ) from None
    with Steps() as steps:
        if not wait_until_free(folder, STOP_S, lambda: steps.show(folder.load_state() or {})):
            raise Failure(f"The cluster still stops after {STOP_S:.0f} s.", f"Look at {folder.log('supervisor')}.")
        steps.show(folder.load_state() or {})
    return True


def status(data: Data = DATA_DEFAULT, json: Json = False) -> None:
    """What runs, where, and in what state."""
    folder = Folder.at(data)
    snapshot = current(folder)
    if json:
        put_json(public(snapshot))
    elif snapshot["running"]:
        show_status(snapshot)
    else:
        notes.print(f"No cluster runs on {folder.path}. Start one with `tidings up`.")
    if not snapshot["running"]:
        raise typer.Exit(1)


def current(folder: Folder) -> dict[str, Any]:
    """What the supervisor says; after its death, what is left; else just that nothing runs."""
    if not folder.is_ours:
        return {"running": False}
    try:
        return control.ask(folder, {"command": "status"}, timeout_s=ANSWER_S)
    except control.NoSupervisor:
        return orphans.snapshot_without_supervisor(folder.path, folder.load_state())


def public(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Without what only the command itself needs."""
    return {name: value for name, value in snapshot.items() if name not in ("phase", "endpoints", "security")}


def scale(
    nodes: Annotated[list[str], typer.Argument(metavar="KIND=N…", help="For example: access=3 logic=2")],
    data: Data = DATA_DEFAULT,
    json: Json = False,
) -> None:
    """Add nodes, or drain and remove those with the highest numbers; returns when done."""
    parse_scale(nodes)
    folder = Folder.at(data)
    with Steps(snapshot=lambda: folder.load_state() or {}):
        answer = control.ask(folder, {"command": "scale", "nodes": nodes}, timeout_s=CHANGE_S)
    if json:
        put_json(answer)
    else:
        results.print("Done: " + (", ".join(answer["changed"]) or "nothing had to change") + ".")


def restart(
    target: Annotated[str, typer.Argument(metavar="NODE|access|logic|storage|all")],
    data: Data = DATA_DEFAULT,
    json: Json = False,
) -> None:
    """Rolling: each one drains, stops, starts and is ready before the next."""
    folder = Folder.at(data)
    with Steps(snapshot=lambda: folder.load_state() or {}):
        answer = control.ask(folder, {"command": "restart", "target": target}, timeout_s=CHANGE_S)
    if json:
        put_json(answer)
    else:
        results.print("Restarted: " + ", ".join(answer["restarted"]) + ".")
