"""Takes over data of an earlier version: runs `services.storage.migrate` with a storage node's settings, and shows it.

Guarantees: may be stopped with Ctrl-C at any time and run again. Does not know: how the data are laid out.
"""

from __future__ import annotations

import json as json_format
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

import tidings_server
from tools.cli.failure import Failure
from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json
from tools.cli.output import notes, put_json, results
from tools.cli.stack.variables import for_nodes
from tools.cli.target import Target, find

MODULE = "services.storage.migrate"


def migrate(
    drop: Annotated[
        bool, typer.Option("--drop", help="Then remove the data in its former layout. [default: it is kept]")
    ] = False,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    json: Json = False,
) -> None:
    """Take over messages and inboxes of 0.1.0; repeat it with the storage nodes stopped."""
    environment = environment_of(find(data, etcd, cluster), os.environ)
    last: dict[str, Any] = {}
    with notes.status("looking at the data") as status:
        for last in _lines([*tidings_server.program(MODULE), *(["--drop"] if drop else [])], environment):
            if "done" not in last:
                status.update(progress(last))
            if json:
                put_json(last)
    if last and not json:
        results.print(verdict(last))
    if last.get("stopped", not last):
        raise typer.Exit(1)


def environment_of(target: Target, given: Mapping[str, str]) -> dict[str, str]:
    """A storage node's settings for this cluster; one that is found by its etcd has them in the environment."""
    snapshot = target.snapshot or {}
    found = {
        "TIDINGS_NODE": "migrate",
        "TIDINGS_CLUSTER": target.cluster,
        "TIDINGS_ETCD_ENDPOINTS": target.etcd,
    }
    if snapshot:
        found["TIDINGS_MONGODB_URI"] = snapshot["endpoints"]["mongodb"]
    quiet = {"TIDINGS_LOG_LEVEL": "warning", "TIDINGS_LOG_FORMAT": "console"}
    return {**quiet, **snapshot.get("security", {}), **for_nodes(given), **found}


def progress(line: Mapping[str, Any]) -> str:
    """One line about what is under way."""
    left = f", {duration(line['left_s'])} left" if line["left_s"] is not None else ""
    return (
        f"{line['collection']}: {line['compared']:,} of {line['total']:,} compared, {line['copied']:,} copied, "
        f"{line['rate_per_s']:,} a second{left}"
    )


def verdict(line: Mapping[str, Any]) -> str:
    """What is to be done now."""
    if line["done"]:
        former = " The former layout is gone." if line["dropped"] else ""
        if "compared" not in line:
            return f"Nothing is left to be taken over.{former}"
        return (
            f"All {line['compared']:,} messages and inbox entries are taken over. Start the new storage nodes.{former}"
        )
    if line.get("stopped"):
        return f"Stopped after {line['compared']:,} were compared. Run it again: it goes on there."
    return (
        f"{line['compared']:,} messages and inbox entries are taken over, but storage nodes still write: "
        f"{', '.join(line['serving'])}. Stop them, then run `tidings migrate` again."
    )


def duration(seconds: int) -> str:
    """Such as 45 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _lines(command: list[str], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What the process tells; its log goes to standard error. Raises Failure."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        # Ctrl-C reaches the process as well, which ends after its step and tells how far it is.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert process.stdout is not None
        for line in process.stdout:
            yield json_format.loads(line)
    if process.returncode:
        raise Failure("The data could not be taken over: the last line of the log says why.", "Then run it again.")
