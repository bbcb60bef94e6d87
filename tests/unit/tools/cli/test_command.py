"""The `tidings` command: what it says to who uses it wrongly, and that it says only JSON where JSON is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from tools.cli.commands.config import View, is_deployed, problems
from tools.cli.commands.operator import parse_pace
from tools.cli.failure import WrongUse
from tools.cli.main import COMMANDS
from tools.cli.stack.folder import Folder

TIDINGS = Path(sys.executable).with_name("tidings")
SECRET = "a secret that is long enough to be one\n"


def tidings(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TIDINGS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "200", **environment},
    )


def test_help_lists_the_commands_without_importing_them() -> None:
    outcome = tidings("--help", PYTHONPROFILEIMPORTTIME="1")
    assert outcome.returncode == 0
    for name in ("up", "down", "status", "scale", "restart", "token", "nodes", "ring", "slot", "drain", "doctor"):
        assert f" {name} " in outcome.stdout
    imported = {line.rpartition("|")[2].strip() for line in outcome.stderr.splitlines()}
    assert "tools.cli.main" in imported
    assert not imported & {"grpc", "pymongo", "aiokafka", "pydantic", "structlog", "tools.cli.commands.stack"}


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name][0].startswith("tools.cli.commands")])
def test_each_command_explains_itself(name: str) -> None:
    outcome = tidings(name, "--help")
    assert outcome.returncode == 0, outcome.stderr
    assert f"tidings {name}" in outcome.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["up", "--access", "0"],
        ["up", "--access", "many"],
        ["up", "--port-base", "70000"],
        ["up", "--placement", "near"],
        ["scale"],
        ["scale", "access"],
        ["token"],
        ["token", "not a user"],
        ["slot", "ü"],
        ["config", "show", "--service", "gateway"],
    ],
)
def test_wrong_use_is_told_in_a_sentence_with_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    outcome = tidings(*arguments, TIDINGS_DATA=str(tmp_path / "data"))
    assert outcome.returncode == 2, outcome
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["scale", "access=2"],
        ["restart", "all"],
        ["token", "ann"],
        ["nodes"],
        ["ring"],
        ["slot", "ann"],
        ["sessions", "ann"],
        ["kick", "ann"],
        ["broadcast", "hello"],
        ["drain", "access-0"],
    ],
)
def test_without_a_cluster_each_command_says_how_to_get_one(arguments: list[str], tmp_path: Path) -> None:
    outcome = tidings(*arguments, "--json", TIDINGS_DATA=str(tmp_path / "data"))
    assert outcome.returncode == 1, outcome
    assert outcome.stdout == ""
    assert "No cluster runs on" in outcome.stderr
    assert "tidings up" in outcome.stderr


def test_status_of_nothing_is_json_and_a_failure(tmp_path: Path) -> None:
    outcome = tidings("status", "--json", "--data", str(tmp_path / "data"))
    assert (outcome.returncode, json.loads(outcome.stdout)) == (1, {"running": False})


def test_down_of_nothing_is_no_error_and_removes_only_what_is_ours(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    assert tidings("down", "--data", str(tmp_path / "data")).returncode == 0
    assert tidings("down", "--purge", "--data", str(tmp_path)).returncode == 1
    assert (tmp_path / "letter.txt").exists()
    Folder.at(tmp_path / "ours").take()
    assert tidings("down", "--purge", "--data", str(tmp_path / "ours")).returncode == 0
    assert not (tmp_path / "ours").exists()


def test_a_token_is_signed_with_the_secret_for_the_user_and_the_cluster(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    outcome = tidings("token", "ann", "--secret-file", str(secret), "--ttl", "60", "--cluster", "office", "--json")
    assert outcome.returncode == 0, outcome.stderr
    claims = jwt.decode(json.loads(outcome.stdout)["token"], SECRET.strip(), ["HS256"], audience="office")
    assert claims["sub"] == "ann"
    assert claims["exp"] - claims["iat"] == 60


def test_a_secret_that_is_missing_or_too_short_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    missing = tidings("token", "ann", "--secret-file", str(secret))
    secret.write_text("short")
    short = tidings("token", "ann", "--secret-file", str(secret))
    assert (missing.returncode, short.returncode) == (1, 1)
    assert "cannot be read" in missing.stderr
    assert "at least 32" in short.stderr


def test_wrong_settings_stop_the_start_with_the_nearest_known_name(tmp_path: Path) -> None:
    outcome = tidings("up", TIDINGS_LEASE_TTL="3", TIDINGS_DATA=str(tmp_path / "data"))
    assert outcome.returncode == 1
    assert "did you mean TIDINGS_LEASE_TTL_S?" in outcome.stderr
    assert not (tmp_path / "data").exists()


def test_each_wrong_setting_is_told_once() -> None:
    view = View({"TIDINGS_LOG_LEVEL": "loud", "TIDINGS_LEASE": "3"}, Folder.at(Path("data")))
    assert [problem.name for problem in problems(["access", "logic", "storage"], view)] == [
        "TIDINGS_LEASE",
        "TIDINGS_LOG_LEVEL",
    ]


def test_the_environment_of_a_deployed_node_gets_nothing_from_a_local_stack() -> None:
    assert is_deployed({"TIDINGS_NODE": "access-0"})
    assert not is_deployed({})
    assert list(problems(["access"], View({"TIDINGS_NODE": "access-0"}, None)))


def test_config_show_tells_where_each_value_came_from(tmp_path: Path) -> None:
    outcome = tidings("config", "show", "--json", TIDINGS_LEASE_TTL_S="9", TIDINGS_OPERATOR_TOKEN="hush")
    assert outcome.returncode == 0, outcome.stderr
    rows = {(row["service"], row["variable"]): row for row in json.loads(outcome.stdout)["settings"]}
    assert rows["access", "TIDINGS_LEASE_TTL_S"]["value"] == "9"
    assert rows["access", "TIDINGS_LEASE_TTL_S"]["origin"] == "environment"
    assert rows["access", "TIDINGS_NODE"]["origin"] == "local stack"
    assert rows["logic", "TIDINGS_LOG_LEVEL"]["origin"] == "default"
    assert "hush" not in outcome.stdout


def test_a_pace_is_a_whole_number_a_second() -> None:
    assert [parse_pace(text) for text in ("", "20", "20/s")] == [0, 20, 20]
    for text in ("0", "-1", "fast", "1.5", "20/min"):
        with pytest.raises(WrongUse):
            parse_pace(text)
