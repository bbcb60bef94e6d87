"""A flame graph of each service under load: `python -m tests.benchmarks.flames [--folder docs/pictures]`.

On a cluster of its own, removed after it: a closed loop of direct messages, while py-spy looks at one node of each kind
after the other. Only threads that hold the interpreter are seen: what is wide is where its time goes, what
stands on it is what it calls. Needs the right to look into other processes (root, or kernel.yama.ptrace_scope=0).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = Path("build/flames-cluster")
PROGRAM = (sys.executable, "-m", "tools.cli.main")
KINDS = ("access", "logic", "storage")
SAMPLES_PER_S = 200
SETTLE_S = 6.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/pictures"), help="where flame-KIND.svg go")
    parser.add_argument("--seconds", type=int, default=10, help="for each kind of node")
    parser.add_argument("--port-base", type=int, default=19_000)
    arguments = parser.parse_args()
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        sys.stderr.write("py-spy is missing: run `make flames`, which installs it\n")
        return 2
    try:
        nodes = _up(arguments.port_base)
        load = subprocess.Popen(
            [*PROGRAM, "bench", "direct", "--data", str(DATA), "--seconds", str(_long(arguments.seconds)), "--json"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(SETTLE_S)
        for kind in KINDS:
            picture = arguments.folder / f"flame-{kind}.svg"
            sys.stderr.write(f"looking at {kind}-0 for {arguments.seconds} s …\n")
            _record(spy, nodes[kind], arguments.seconds, picture, f"{kind} node, direct messages in a closed loop")
        return load.wait()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stderr or error}\n")
        return 1
    finally:
        _tidings("down", "--purge")


def _up(port_base: int) -> dict[str, int]:
    """The process of one node of each kind."""
    _tidings("up", "--detach", "--port-base", str(port_base), "--access", "2", "--logic", "1", "--storage", "1")
    status: dict[str, Any] = json.loads(_tidings("status", "--json"))
    return {kind: status[kind][0]["pid"] for kind in KINDS}


def _tidings(*arguments: str) -> str:
    return subprocess.run(
        [*PROGRAM, *arguments, "--data", str(DATA)], cwd=ROOT, check=True, capture_output=True, text=True, timeout=180
    ).stdout


def _long(seconds: int) -> int:
    """The load outlasts the looks and what py-spy takes to begin and end."""
    return len(KINDS) * (seconds + 4) + 5


def _record(spy: str, pid: int, seconds: int, picture: Path, title: str) -> None:
    options = ["--gil", "--rate", str(SAMPLES_PER_S), "--duration", str(seconds), "--format", "flamegraph"]
    command = [spy, "record", "--pid", str(pid), *options, "--output", str(picture)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    picture.write_text(_cleaned(picture.read_text(), title))


def _cleaned(svg: str, title: str) -> str:
    """With a title that says what it is, without where this machine keeps its files and without the notes that the
    authors of the script in it made for themselves.
    """
    svg = re.sub(r'(<text id="title"[^>]*>)[^<]*(</text>)', rf"\g<1>{title}\g<2>", svg)
    svg = re.sub(r"[^\s\"<>(]*/site-packages/", "", svg)
    svg = re.sub(r"^\s*// TODO.*\n", "", svg, flags=re.MULTILINE)
    return svg.replace(f"{ROOT}/", "")


if __name__ == "__main__":
    raise SystemExit(main())
