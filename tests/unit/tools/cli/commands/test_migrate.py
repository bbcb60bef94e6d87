"""What `tidings migrate` says, and with which settings it looks at the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.cli.commands.migrate import duration, environment_of, progress, verdict
from tools.cli.target import Target

LINE = {"compared": 2000, "total": 9000, "copied": 500, "removed": 0, "rate_per_s": 1000, "left_s": 7}


def test_a_local_stack_tells_where_its_mongodb_is() -> None:
    snapshot = {"endpoints": {"mongodb": "mongodb://here"}, "security": {"TIDINGS_CONFIG": "file"}}
    target = Target("local", "127.0.0.1:1", None, None, snapshot)
    found = environment_of(target, {"PATH": "p", "TIDINGS_DATA": "d", "TIDINGS_MONGODB_URI": "mongodb://there"})
    assert found["TIDINGS_MONGODB_URI"] == "mongodb://here"
    assert found["TIDINGS_ETCD_ENDPOINTS"] == "127.0.0.1:1"
    assert (found["PATH"], found["TIDINGS_CONFIG"]) == ("p", "file")
    assert "TIDINGS_DATA" not in found


def test_a_cluster_that_is_found_by_its_etcd_has_its_mongodb_in_the_environment() -> None:
    target = Target("prod", "etcd:2379", Path("x"), None, None)
    found = environment_of(target, {"TIDINGS_MONGODB_URI": "mongodb://there", "TIDINGS_LOG_LEVEL": "debug"})
    assert found["TIDINGS_MONGODB_URI"] == "mongodb://there"
    assert (found["TIDINGS_CLUSTER"], found["TIDINGS_LOG_LEVEL"]) == ("prod", "debug")


def test_progress_says_rate_and_time_left() -> None:
    assert progress({"collection": "inbox", **LINE}) == (
        "inbox: 2,000 of 9,000 compared, 500 copied, 1,000 a second, 7 s left"
    )
    assert "left" not in progress({"collection": "inbox", **LINE, "left_s": None})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"done": True, "dropped": False}, "Nothing is left to be taken over."),
        ({"done": True, "dropped": False, "serving": [], **LINE}, "Start the new storage nodes."),
        ({"done": True, "dropped": True, "serving": [], **LINE}, "The former layout is gone."),
        ({"done": False, "stopped": True, **LINE}, "Run it again: it goes on there."),
        ({"done": False, "serving": ["storage-0"], "dropped": False, **LINE}, "still write: storage-0. Stop them"),
    ],
)
def test_the_end_says_what_is_to_be_done_now(line: dict[str, object], said: str) -> None:
    assert said in verdict(line)


def test_durations_are_as_long_as_one_says_them() -> None:
    assert [duration(seconds) for seconds in (0, 119, 120, 7199, 7200)] == ["0 s", "119 s", "2 min", "120 min", "2.0 h"]
