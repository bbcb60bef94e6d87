"""The data folder: only one that is ours is taken or removed, by one supervisor at a time; secrets are secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.common.auth.token_keys import secret_of
from tools.cli.failure import Failure
from tools.cli.stack.folder import LOG_BYTES_MAX, SOCKET_PATH_MAX, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder.at(tmp_path / "data")
    made.take()
    return made


def test_the_secrets_are_made_once_and_only_the_user_can_read_them(folder: Folder) -> None:
    first = folder.secret_file.read_bytes()
    assert stat.S_IMODE(folder.secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.operator_token_file.stat().st_mode) == 0o600
    folder.take()
    assert folder.secret_file.read_bytes() == first
    assert len(secret_of(first)) >= 32
    assert folder.operator_token_file.read_bytes() != first


def test_a_folder_with_other_files_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(Failure, match="not of a Tidings cluster"):
        Folder.at(tmp_path).take()


def test_a_folder_with_other_files_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(Failure, match="nothing was removed"):
        Folder.at(tmp_path).purge()
    assert (tmp_path / "letter.txt").exists()


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(Failure, match="cannot be used"):
        Folder.at(tmp_path / "data").take()


def test_purging_removes_it_whole_and_purging_again_is_no_error(folder: Folder) -> None:
    folder.purge()
    assert not folder.path.exists()
    folder.purge()


def test_the_lock_is_held_by_one_until_it_is_closed(folder: Folder) -> None:
    assert not folder.is_locked()
    lock = folder.lock()
    assert lock is not None
    assert folder.is_locked()
    assert folder.lock() is None
    lock.close()
    assert not folder.is_locked()


def test_the_state_is_what_was_saved_last(folder: Folder) -> None:
    assert folder.load_state() is None
    folder.save_state({"running": True})
    folder.save_state({"running": False})
    assert folder.load_state() == {"running": False}
    folder.state_file.write_text("{")
    assert folder.load_state() is None


def test_the_socket_of_a_deep_folder_has_a_short_path(tmp_path: Path) -> None:
    deep = Folder.at(tmp_path / ("d" * SOCKET_PATH_MAX))
    other = Folder.at(tmp_path / ("e" * SOCKET_PATH_MAX))
    assert len(str(deep.control_socket)) <= SOCKET_PATH_MAX
    assert deep.control_socket != other.control_socket


def test_a_long_log_is_kept_aside_at_the_next_start(folder: Folder) -> None:
    with folder.open_log("etcd") as log:
        log.write("old\n")
        log.truncate(LOG_BYTES_MAX + 1)
    with folder.open_log("etcd") as log:
        log.write("new\n")
    assert folder.last_lines("etcd") == ["new"]
    assert (folder.path / "logs" / "etcd.log.1").stat().st_size > LOG_BYTES_MAX


def test_the_last_lines_of_a_log_that_is_not_there_are_none(folder: Folder) -> None:
    assert folder.last_lines("kafka") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_told_and_the_former_state_stays(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    folder.save_state({"running": True})
    folder.state_file.with_suffix(".new").symlink_to("/dev/full")
    folder.save_state({"running": False})
    assert "No space left on device" in caplog.text
    assert "the cluster goes on" in caplog.text
    assert folder.load_state() == {"running": True}
