"""The `tidings` command: imports only the command that is used, and ends with one clear sentence.

Exit codes: 0 done, 1 failed, 2 called in a wrong way.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from tools.cli.failure import Failure
from tools.cli.output import notes

# name -> (module, its function or Typer, what `tidings --help` says)
COMMANDS = {
    "up": ("tools.cli.commands.stack", "up", "Start the backends and the nodes, and keep them running."),
    "down": ("tools.cli.commands.stack", "down", "Stop all, in order."),
    "status": ("tools.cli.commands.stack", "status", "What runs, where, and in what state."),
    "scale": ("tools.cli.commands.stack", "scale", "Add nodes, or drain and remove some."),
    "restart": ("tools.cli.commands.stack", "restart", "Restart nodes one after the other."),
    "token": ("tools.cli.commands.cluster", "token", "A signed token for a user."),
    "chat": ("tools.cli.chat", "chat", "Chat in the terminal."),
    "send": ("tools.cli.commands.messages", "send", "Send one message."),
    "listen": ("tools.cli.commands.messages", "listen", "Print what arrives."),
    "nodes": ("tools.cli.commands.cluster", "nodes", "Who is alive."),
    "ring": ("tools.cli.commands.cluster", "ring", "Who owns which users, and how evenly."),
    "slot": ("tools.cli.commands.cluster", "slot", "Where a user belongs."),
    "sessions": ("tools.cli.commands.operator", "sessions", "Where a user is connected."),
    "kick": ("tools.cli.commands.operator", "kick", "End a user's sessions."),
    "broadcast": ("tools.cli.commands.operator", "broadcast", "Send a notice to everyone."),
    "drain": ("tools.cli.commands.operator", "drain", "Have a node's clients move over; then it ends and stays away."),
    "migrate": ("tools.cli.commands.migrate", "migrate", "Take over the data of an earlier version."),
    "doctor": ("tools.cli.commands.doctor", "doctor", "Look for what is wrong, and say what to do."),
    "config": ("tools.cli.commands.config", "config", "Every setting: its value, where that came from, what it means."),
    "bench": ("tools.bench", "bench", "Load a cluster and measure it."),
    "capacity": ("tools.bench.capacity", "capacity", "What a cluster for so many users needs."),
    "backends": ("tools.cli.commands.stack", "backends", "The backends alone, for tests and tools of your own."),
}
HIDDEN = frozenset({"backends"})


class Commands(TyperGroup):
    """Lists the commands without importing them; the one that is called is imported.

    `Any` where the base class names types of click: which copy of click they are of is typer's own business.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return [name for name, (module, _, _) in COMMANDS.items() if importlib.util.find_spec(module) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][2], hidden=cmd_name in HIDDEN)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and found else found, rest


def load(name: str) -> Any:
    module, attribute, _ = COMMANDS[name]
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        return get_command(target)
    single = typer.Typer(add_completion=False)
    single.command(name)(target)
    return get_command(single)


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def tidings() -> None:
    """An instant-messaging cluster: run it, look at it, talk through it."""


def main() -> None:
    try:
        app()
    except Failure as failure:
        notes.print(f"[red]error:[/red] {escape(failure.message)} {escape(failure.advice)}".rstrip())
        sys.exit(failure.code)
    except BrokenPipeError:  # who read our output has gone: there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
