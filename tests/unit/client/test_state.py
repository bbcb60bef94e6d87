"""What a device keeps over a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tidings import BadState, FileState, MemoryState, SavedState, StateStore

STATE = SavedState("bob", "laptop", "epoch", 12, {"g:1": 3}, {"d:a|b": 5}, 77)
LATER = SavedState("bob", "laptop", "epoch", 13, {"g:1": 3}, {"d:a|b": 6}, 78)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_is_saved_is_loaded(kind: str, tmp_path: Path) -> None:
    store: StateStore = MemoryState() if kind == "memory" else FileState(tmp_path / "new" / "state.json")
    assert store.load() is None
    store.save(STATE)
    assert store.load() == STATE


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "user": "x"}'])
def test_a_file_that_is_no_state_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(BadState, match=r"state\.json"):
        FileState(file).load()


def test_a_state_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    FileState(file).save(STATE)
    told = json.loads(file.read_text())
    del told["attempt"]
    file.write_text(json.dumps(told))
    found = FileState(file).load()
    assert found is not None
    assert (found.cursor, found.attempt) == (12, 0)


def test_it_reaches_the_disk_before_it_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    synced: list[tuple[str, bool]] = []

    def sync(descriptor: int) -> None:
        there = file.exists() and FileState(file).load() == LATER
        synced.append((os.path.realpath(f"/proc/self/fd/{descriptor}"), there))

    FileState(file).save(STATE)
    FileState(file, sync).save(LATER)
    assert synced == [(f"{file}.new", False), (str(tmp_path), True)]


@pytest.mark.parametrize("torn", ["", '{"format": 1, "us'])
def test_a_file_that_is_torn_all_the_same_gives_way_to_the_former_one(torn: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    FileState(file).save(STATE)
    FileState(file).save(LATER)
    file.write_text(torn)
    assert FileState(file).load() == STATE


def test_who_removes_the_file_starts_as_a_new_device(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    FileState(file).save(STATE)
    FileState(file).save(LATER)
    file.unlink()
    assert FileState(file).load() is None


def test_a_disk_that_takes_nothing_leaves_what_was_there(tmp_path: Path) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "state.json"
    FileState(file).save(STATE)
    with pytest.raises(OSError, match="No space"):
        FileState(file, full).save(LATER)
    assert FileState(file).load() == STATE


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "state.json"
    folder.mkdir()
    with pytest.raises(BadState, match="cannot be read"):
        FileState(folder).load()
