"""Which device a chat is, and where its place is kept.

Guarantees: two chats of one user at the same time are two devices (a lock each); one that is opened again is the device
that was free first, and goes on where that one stopped. Beside a local stack's data if there is one, else in the
person's own state folder.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from tidings_protocol.ids import new_id
from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder

CHATS_MAX = 20


@contextmanager
def device_of(user: str, data: Path, remote: str | None) -> Iterator[tuple[str, Path]]:
    """The device's id and the file of its place, held until the end. Raises Failure."""
    folder = _folder(data, remote)
    stem = quote(user, safe="")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, file = _first_free(folder, stem)
        device = _device_in(file)
    except OSError as error:
        raise Failure(
            f"The chat's place cannot be kept in {folder}: {error.strerror}.",
            "Make room, or let this user write there.",
        ) from error
    with file:
        yield device, folder / f"{stem}-{number}.json"


def _first_free(folder: Path, stem: str) -> tuple[int, TextIO]:
    for number in range(1, CHATS_MAX + 1):
        file = (folder / f"{stem}-{number}.device").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return number, file
    raise Failure(f"{CHATS_MAX} chats of this user are open already.", "Close one of them.")


def _device_in(file: TextIO) -> str:
    file.seek(0)
    device = file.read().strip()
    if not device:
        device = f"chat-{new_id()}"
        file.write(device)
        file.flush()
    return device


def _folder(data: Path, remote: str | None) -> Path:
    stack = Folder.at(data)
    if remote is None and stack.is_ours:
        return stack.path / "chat"
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "tidings" / quote(remote or str(stack.path), safe="")
