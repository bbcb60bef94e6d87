"""Helm itself, as a library in a wheel: `python -m tests.deploy.helm CHART` renders the values of standard input.

A process of its own: the library brings a Go runtime along, whose threads and signal handlers stay out of pytest's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "tidings"


def rendered(chart: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of the chart. Raises CalledProcessError if Helm refuses it."""
    done = _run("render", chart, values)
    return [found for text in done.values() for found in yaml.safe_load_all(text) if found]


def lint(chart: Path) -> list[str]:
    """What Helm criticises, warnings too."""
    said = _run("lint", chart, {})
    return [*(f"{each['path']}: {each['error']}" for each in said["messages"] if each["severity"] > 1), *said["errors"]]


def _run(verb: str, chart: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.deploy.helm", verb, str(chart)]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(values), capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _main(verb: str, folder: str) -> None:
    from helm_python import chart

    values = json.load(sys.stdin)
    if verb == "lint":
        told = chart.lint(folder, values, strict=True, namespace=NAMESPACE)
    else:
        with chart.Chart.load(folder) as loaded:
            told = loaded.render(values, name="tidings", namespace=NAMESPACE, is_install=True)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
