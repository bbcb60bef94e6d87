"""Shows people what the stack does: a line for each step that is done, and a spinner that says what is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.table import Table

from tools.cli.options import DATA_DEFAULT
from tools.cli.output import notes, results
from tools.cli.stack.policy import State

KINDS = ("backends", "storage", "logic", "access")
REFRESH_S = 0.2


class Steps:
    """Is shown snapshots and prints what is new in them, to standard error.

    With `snapshot` it looks by itself, in a thread of its own: while the caller waits for an answer.
    """

    def __init__(self, snapshot: Callable[[], dict[str, Any]] | None = None) -> None:
        self._seen: dict[str, tuple[str, int | None]] = {}
        self._spinner = notes.status("")
        self._snapshot = snapshot
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="steps", daemon=True)

    def __enter__(self) -> Self:
        self._spinner.start()
        if self._snapshot is not None:
            self._note(self._snapshot())
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._snapshot is not None and error is None:
            self.show(self._snapshot())
        self._spinner.stop()

    def show(self, snapshot: dict[str, Any]) -> None:
        waiting = []
        for process in processes(snapshot):
            name, state = process["name"], process["state"]
            before = self._seen.get(name)
            if before != (state, process["pid"]):
                _tell(process, before)
                self._seen[name] = (state, process["pid"])
            if state in (State.STARTING, State.DRAINING):
                waiting.append(name)
        self._forget(snapshot)
        verb = "stopping" if snapshot.get("phase") == "stopping" else "waiting for"
        if waiting:
            self._spinner.update(f"{verb} {', '.join(waiting)}")
        elif snapshot.get("phase") == "running":
            self._spinner.stop()

    def _forget(self, snapshot: dict[str, Any]) -> None:
        names = {process["name"] for process in processes(snapshot)}
        for name in [name for name in self._seen if name not in names]:
            del self._seen[name]
            notes.print(f"  [dim]✓ {name} is gone[/dim]")

    def _note(self, snapshot: dict[str, Any]) -> None:
        """What is so already is no news."""
        self._seen = {process["name"]: (process["state"], process["pid"]) for process in processes(snapshot)}

    def _look(self) -> None:
        while not self._over.wait(REFRESH_S):
            if self._snapshot is not None:
                self.show(self._snapshot())


def _tell(process: dict[str, Any], before: tuple[str, int | None] | None) -> None:
    name = process["name"]
    match process["state"]:
        case State.READY:
            address = process.get("ws") or process.get("rpc") or process.get("address")
            time_s = process.get("ready_after_s")
            notes.print(
                f"  [green]✓[/green] {name:<10} ready  [dim]{address}{f'  {time_s:.1f} s' if time_s else ''}[/dim]"
            )
        case State.DRAINING:
            notes.print(f"  [dim]… {name} {'stops' if 'address' in process else 'drains'}[/dim]")
        case State.DOWN if before is not None:
            notes.print(f"  [dim]✓ {name} stopped[/dim]")
        case State.STARTING if before is not None and process["detail"].startswith("ended"):
            notes.print(f"  [yellow]![/yellow] {name} {process['detail']}: it is started again")


def processes(snapshot: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in KINDS:
        yield from snapshot.get(kind, ())


def show_addresses(snapshot: dict[str, Any], *, detached: bool) -> None:
    """Ends a successful `up`: where everything is, and what to type now."""
    elsewhere = Path(snapshot["data"]) != Path.cwd() / DATA_DEFAULT
    data = f" --data {snapshot['data']}" if elsewhere else ""
    results.print("[bold green]ready[/bold green]")
    show_status(snapshot)
    if snapshot["access"]:
        results.print("\nTalk, each in a terminal of its own:")
        for user, peer in (("ann", "bob"), ("bob", "ann")):
            results.print(f"  [bold].venv/bin/tidings chat --user {user} --to {peer}{data}[/bold]")
    results.print(f"\nStop all with `tidings down{data}`." if detached else "\nCtrl-C stops all.")


def show_status(snapshot: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "state", "pid", "addresses"):
        table.add_column(title)
    for process in processes(snapshot):
        addresses = [str(process[name]) for name in ("ws", "tcp", "rpc", "ops", "address") if name in process]
        colour = {"ready": "green", "down": "red"}.get(process["state"], "yellow")
        pid = str(process["pid"] or "-")
        table.add_row(process["name"], f"[{colour}]{process['state']}[/{colour}]", pid, "  ".join(addresses))
    results.print(f"[bold]Tidings[/bold] cluster {snapshot['cluster']!r}, data in {snapshot['data']}")
    results.print(table)
