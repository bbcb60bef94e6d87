"""The workloads' options: what all of them share is added to each, and reaches it as one value."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from tools.bench.options import Shared, sharing


def command_of(seen: list[tuple[Shared, int]]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @sharing
    def load(shared: Shared, users: Annotated[int, typer.Option("--users")] = 7) -> None:
        """A load."""
        seen.append((shared, users))

    return app


def test_without_any_each_has_its_default() -> None:
    seen: list[tuple[Shared, int]] = []
    assert CliRunner().invoke(command_of(seen), []).exit_code == 0
    assert seen == [(Shared(), 7)]


def test_its_own_and_the_shared_ones_are_told_apart() -> None:
    seen: list[tuple[Shared, int]] = []
    given = ["--users", "8", "--transport", "tcp", "--processes", "2", "--compare", "old.json", "--json"]
    assert CliRunner().invoke(command_of(seen), given).exit_code == 0
    assert seen == [(Shared(transport="tcp", processes=2, compare=Path("old.json"), json=True), 8)]


def test_help_tells_of_both_in_this_order() -> None:
    shown = CliRunner().invoke(command_of([]), ["--help"], env={"COLUMNS": "200"}).output
    assert shown.index("A load.") < shown.index("--users") < shown.index("--processes") < shown.index("--json")
