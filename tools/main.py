"""The `tidings` command: registers every command, translates a user's mistake into one clear sentence."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def tidings() -> None:
    """An instant-messaging cluster: run it, look at it, talk through it."""


def main() -> None:
    app()
