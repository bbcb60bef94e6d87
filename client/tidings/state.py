"""Where a device stands, and how it is kept over a restart: the port, a memory and a file.

Guarantees: what `load` gives is what one `save` was given, whole (a file is replaced at once, never half written). A
file that cannot be read is an error that names it, not a silent fresh start.

Does not know: what the numbers mean (core/feed.py).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tidings.errors import TidingsError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SavedState:
    """`cursor`: every inbox number up to it was handed to the application.

    `groups`: the same per large group (and b:all), by seq; `seqs`: the last seq handed out in other conversations.
    """

    user: str
    device: str
    epoch: str
    cursor: int
    groups: Mapping[str, int] = field(default_factory=dict)
    seqs: Mapping[str, int] = field(default_factory=dict)


class BadState(TidingsError):
    """The file that keeps the state is not one."""

    code = "BAD_STATE"


class StateStore(Protocol):
    """Both are called in a thread of their own, one after the other."""

    def load(self) -> SavedState | None:
        """None: nothing was saved, the device is new."""
        ...

    def save(self, state: SavedState) -> None: ...


class MemoryState:
    """For as long as the process lives: a second Client of the same device goes on where the first stopped."""

    def __init__(self) -> None:
        self._state: SavedState | None = None

    def load(self) -> SavedState | None:
        return self._state

    def save(self, state: SavedState) -> None:
        self._state = state


class FileState:
    """A small JSON file. One process per file: the same device cannot be connected twice anyway."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._one_at_a_time = threading.Lock()

    def load(self) -> SavedState | None:
        try:
            told = json.loads(self._path.read_bytes())
            return _from_json(told)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadState(
                f"{self._path} is no saved state of a Tidings client ({error}): remove it to start as a new device"
            ) from error

    def save(self, state: SavedState) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with self._one_at_a_time:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(_to_json(state), separators=(",", ":")))
            fresh.replace(self._path)


def _to_json(state: SavedState) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "user": state.user,
        "device": state.device,
        "epoch": state.epoch,
        "cursor": state.cursor,
        "groups": dict(state.groups),
        "seqs": dict(state.seqs),
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
    )
