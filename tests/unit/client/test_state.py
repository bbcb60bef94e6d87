"""What a device keeps over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidings import BadState, FileState, MemoryState, SavedState, StateStore

STATE = SavedState("bob", "laptop", "epoch", 12, {"g:1": 3}, {"d:a|b": 5})


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
