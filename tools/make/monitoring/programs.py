"""Where prometheus, promtool and amtool are: on PATH, or Debian's packages unpacked into the user's cache.

Nothing is installed: Debian's `prometheus` would start a server of its own. The packages are fetched by apt with lists
of our own, so no right of root is needed. `python -m tools.make.monitoring programs` fetches what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.cli.failure import Failure
from tools.cli.stack.programs.supply import cache_folder

PACKAGES = ("prometheus", "prometheus-alertmanager")
NAMES = ("prometheus", "promtool", "amtool")
ADVICE = "Run `make monitoring-programs` (on Debian or Ubuntu), or put prometheus, promtool and amtool on PATH."
APT_S = 300.0


@dataclass(frozen=True, slots=True)
class Programs:
    prometheus: str
    promtool: str
    amtool: str


def find(environment: Mapping[str, str] = os.environ) -> Programs:
    """Raises Failure if one is missing."""
    found = {name: _where(name, environment) for name in NAMES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise Failure(f"{', '.join(missing)} cannot be found.", ADVICE)
    return Programs(**{name: str(path) for name, path in found.items()})


def fetch(environment: Mapping[str, str] = os.environ) -> Programs:
    """What `find` gives, fetched first if something is missing."""
    try:
        return find(environment)
    except Failure:
        pass
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Failure("prometheus, promtool and amtool are not on PATH, and there is no apt-get to fetch them.", ADVICE)
    folder = _folder(environment)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        unpacked = _unpacked(Path(work))
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # another one was faster: its programs are the same
                raise
    return find(environment)


def _folder(environment: Mapping[str, str]) -> Path:
    return cache_folder(environment) / "monitoring"


def _where(name: str, environment: Mapping[str, str]) -> Path | None:
    if on_path := shutil.which(name, path=environment.get("PATH")):
        return Path(on_path)
    own = _folder(environment) / name
    return own if own.exists() else None


def _unpacked(work: Path) -> Path:
    """A folder with the programs."""
    for part in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (work / part).mkdir(parents=True)
    settings = (f"Dir::State::Lists={work / 'lists'}", f"Dir::Cache={work / 'cache'}", "APT::Sandbox::User=")
    options = [word for setting in settings for word in ("-o", setting)]
    _run(["apt-get", *options, "update"], work / "debs")
    _run(["apt-get", *options, "download", *PACKAGES], work / "debs")
    for package in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(work / "root")], work)
    programs = work / "programs"
    programs.mkdir()
    for name in NAMES:
        shutil.move(work / "root" / "usr" / "bin" / name, programs / name)
    return programs


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=APT_S)
    if done.returncode:
        words = " ".join(word for word in command if not word.startswith(("-o", "Dir", "APT")))
        raise Failure(f"`{words}` failed: {done.stderr.strip()[-500:]}", f"The first time needs the network. {ADVICE}")
