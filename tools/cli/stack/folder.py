"""The data folder of a local stack: where each thing lies, and the lock that lets one supervisor own it.

Guarantees: a folder is only taken if it is new, empty or made by an earlier `up` (so `--purge` can never remove
something else); the lock ends with the process that holds it, however that ends. The state file is for other commands:
a disk that does not take it is told in the log, and ends nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tools.cli.failure import Failure

MARK = "tidings-data"
SOCKET_PATH_MAX = 100  # the kernel's limit is 104 to 108 bytes
LOG_BYTES_MAX = 16 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Folder:
    path: Path

    @classmethod
    def at(cls, path: Path) -> Folder:
        return cls(path.expanduser().absolute())

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def secret_file(self) -> Path:
        return self.path / "token-secret"

    @property
    def operator_token_file(self) -> Path:
        return self.path / "operator-token"

    @property
    def control_socket(self) -> Path:
        path = self.path / "control.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tidings-{os.getuid()}" / f"{digest}.sock"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def data_of(self, backend: str) -> Path:
        return self.path / backend

    @property
    def is_ours(self) -> bool:
        return (self.path / MARK).exists()

    def take(self) -> None:
        """Make the folder, or check that it is one of ours. Raises Failure."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.is_ours and any(self.path.iterdir()):
                raise Failure(
                    f"{self.path} holds files that are not of a Tidings cluster.",
                    "Give an empty or a new folder with --data.",
                )
            (self.path / MARK).touch()
            (self.path / "logs").mkdir(exist_ok=True)
            for file in (self.secret_file, self.operator_token_file):
                _write_secret(file)
            socket_folder = self.control_socket.parent
            socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(
                f"The data folder {self.path} cannot be used: {error.strerror}.", "Give another with --data."
            ) from error

    def lock(self) -> TextIO | None:
        """The lock of this folder, held until the file is closed; None: another process has it."""
        file = (self.path / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def is_locked(self) -> bool:
        if not (self.path / "lock").exists():
            return False
        held = self.lock()
        if held is None:
            return True
        held.close()
        return False

    def save_state(self, state: dict[str, Any]) -> None:
        """What other commands find the cluster by. If the disk does not take it, the former one stays."""
        temporary = self.state_file.with_suffix(".new")
        try:
            # Addresses of the user's own backends may have a password in them.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as out:
                json.dump(state, out, indent=1)
            temporary.replace(self.state_file)
        except OSError as error:
            log.warning(
                "%s cannot be written (%s): the cluster goes on, other commands may see its former state; "
                "free some space, or correct the permissions",
                self.state_file,
                error.strerror,
            )

    def load_state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return None
        except OSError as error:
            raise Failure(
                f"{self.state_file} cannot be read: {error.strerror}.",
                "Let this user read it, or give another folder with --data.",
            ) from error
        return state

    def purge(self) -> None:
        if not self.path.exists():
            return
        if not self.is_ours:
            raise Failure(
                f"{self.path} is not the data folder of a Tidings cluster: nothing was removed.",
                "Give the folder of one with --data.",
            )
        shutil.rmtree(self.path)

    def open_log(self, name: str) -> TextIO:
        """The log of a process, to append to; a long one of earlier runs is kept aside as .1 first."""
        path = self.log(name)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path.open("a")

    def last_lines(self, name: str, count: int = 12) -> list[str]:
        try:
            with self.log(name).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 16384))
                return file.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []


def _write_secret(file: Path) -> None:
    if file.exists() and file.stat().st_size >= 32:
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(secrets.token_urlsafe(48) + "\n")
