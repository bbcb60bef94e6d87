"""The walls between the packages hold: import-linter runs the contracts of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import tomli_w

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "pyproject.toml"


def test_the_walls_between_the_packages_hold() -> None:
    outcome = _lint(CONFIG)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_wall_that_is_broken_is_seen(tmp_path: Path) -> None:
    config = tomllib.loads(CONFIG.read_text())["tool"]["importlinter"]
    broken = {
        "name": "nobody draws",
        "type": "forbidden",
        "source_modules": ["tools.cli.main"],
        "forbidden_modules": ["typer"],
    }
    changed = tmp_path / "pyproject.toml"
    changed.write_text(tomli_w.dumps({"tool": {"importlinter": config | {"contracts": [broken]}}}))
    assert "nobody draws BROKEN" in _lint(changed).stdout


def _lint(config: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--config", config, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
