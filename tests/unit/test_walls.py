"""The walls between the packages hold: import-linter runs the contracts of pyproject.toml."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parents[2]


def test_the_walls_between_the_packages_hold(tmp_path: Path) -> None:
    outcome = _lint(_contracts(), tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_wall_that_is_broken_is_seen(tmp_path: Path) -> None:
    config = _contracts()
    config["contracts"] = [
        {
            "name": "nobody draws",
            "type": "forbidden",
            "source_modules": ["tools.main"],
            "forbidden_modules": ["typer"],
        }
    ]
    assert "nobody draws BROKEN" in _lint(config, tmp_path).stdout


def _contracts() -> dict[str, Any]:
    """The contracts of pyproject.toml without the names of modules that are not there (yet)."""
    config: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    config["root_packages"] = [name for name in config["root_packages"] if _exists(name)]
    for contract in config["contracts"]:
        for key in ("modules", "source_modules", "forbidden_modules"):
            if key in contract:
                contract[key] = [name for name in contract[key] if _exists(name)]
    config["contracts"] = [
        contract for contract in config["contracts"] if contract.get("source_modules", contract.get("modules"))
    ]
    return config


def _exists(name: str) -> bool:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return False
    return found is not None and (found.origin is not None or name in sys.stdlib_module_names)


def _lint(config: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "pyproject.toml"
    file.write_text(tomli_w.dumps({"tool": {"importlinter": config}}))
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--config", file, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
