"""Where a device stands, and how it is kept over a restart: the port, a memory and a file.

Guarantees: what `load` gives is what one `save` was given, whole (a file is written beside the former one, reaches the
disk, and only then takes its place). A file that is torn all the same (a disk that lies, another program) does not keep
the device from starting: the former one is beside it, and what came since then comes again. If that cannot be read
either, the error names the file and says what to do; there is no silent fresh start.

Does not know: what the numbers mean (core/messages/feed.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tidings.errors import TidingsError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SavedState:
    """`cursor`: the application is done with every inbox number up to it.

    `groups`: the same per large group (and b:all), by seq; `seqs`: the last such seq in other conversations.
    `attempt`: of the last hello of this device.
    """

    user: str
    device: str
    epoch: str
    cursor: int
    groups: Mapping[str, int] = field(default_factory=dict)
    seqs: Mapping[str, int] = field(default_factory=dict)
    attempt: int = 0


class BadState(TidingsError):
    """The file that keeps the state is not one, or the state cannot be kept."""

    code = "BAD_STATE"


class StateStore(Protocol):
    """Both are called in a thread of their own, one after the other."""

    def load(self) -> SavedState | None:
        """None: nothing was saved, the device is new."""
        ...

    def save(self, state: SavedState) -> None: ...


class MemoryState:
    """Keeps it for as long as the process lives: a second Client of the same device goes on where the first stopped."""

    def __init__(self) -> None:
        self._state: SavedState | None = None

    def load(self) -> SavedState | None:
        return self._state

    def save(self, state: SavedState) -> None:
        self._state = state


class FileState:
    """A small JSON file, and the former one beside it. One process per file: a device is connected once anyway."""

    def __init__(self, path: str | Path, sync: Callable[[int], None] = os.fsync) -> None:
        """`sync` brings what a descriptor stands for to the disk."""
        self._path = Path(path)
        self._former = self._path.with_name(f"{self._path.name}.former")
        self._sync = sync
        self._one_at_a_time = threading.Lock()

    def load(self) -> SavedState | None:
        try:
            return _read(self._path)
        except FileNotFoundError:
            return None  # also if the former one is there: removing the file is how one starts as a new device
        except OSError as error:
            raise BadState(f"{self._path} cannot be read ({error.strerror}): let this program read it") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                return _read(self._former)
            raise BadState(
                f"{self._path} is no saved state of a Tidings client ({error}): remove it to start as a new device"
            ) from error

    def save(self, state: SavedState) -> None:
        """Returns when it is on the disk. Raises OSError; the former state is then still there."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        with self._one_at_a_time:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w") as file:
                file.write(json.dumps(_to_json(state), separators=(",", ":")))
                file.flush()
                self._sync(file.fileno())
            self._keep_former()
            fresh.replace(self._path)
            self._sync_folder()

    def _keep_former(self) -> None:
        """Keeps the former file beside it, as well as the file system can: it is a second safety."""
        with contextlib.suppress(OSError):
            self._former.unlink(missing_ok=True)
            os.link(self._path, self._former)

    def _sync_folder(self) -> None:
        """Syncs the folder, so that the file's new place is on the disk too."""
        if os.name != "posix":
            return  # there a folder cannot be opened
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            self._sync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> SavedState:
    return _from_json(json.loads(path.read_bytes()))


def _to_json(state: SavedState) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "user": state.user,
        "device": state.device,
        "epoch": state.epoch,
        "cursor": state.cursor,
        "groups": dict(state.groups),
        "seqs": dict(state.seqs),
        "attempt": state.attempt,
    }


def _from_json(told: Any) -> SavedState:
    if told["format"] != FORMAT:
        raise ValueError(f"format {told['format']}, this version reads {FORMAT}")
    return SavedState(
        user=str(told["user"]),
        device=str(told["device"]),
        epoch=str(told["epoch"]),
        cursor=int(told["cursor"]),
        groups={str(name): int(seq) for name, seq in told["groups"].items()},
        seqs={str(name): int(seq) for name, seq in told["seqs"].items()},
        attempt=int(told.get("attempt", 0)),
    )
