"""Log events: one line each, with the names bound to them, and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from services.common.telemetry import logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_event_is_one_line_of_json_with_the_node_and_what_is_bound() -> None:
    out = io.StringIO()
    logs.configure(level="info", form="json", service="access", node="access-0", stream=out)
    logs.get_logger("services.access.connection.connection").info("connection opened", connection="c1", transport="ws")
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {
        "service": "access",
        "node": "access-0",
        "module": "access.connection.connection",
        "level": "info",
        "event": "connection opened",
        "connection": "c1",
        "transport": "ws",
    }


@pytest.mark.parametrize("name", sorted(logs.SECRET_NAMES))
def test_what_may_be_a_secret_is_hidden(name: str) -> None:
    out = io.StringIO()
    logs.configure(level="info", form="json", stream=out)
    logs.get_logger("x").info("hello came", **{name: "s3cret"})
    assert "s3cret" not in out.getvalue()
    assert json.loads(out.getvalue())[name] == logs.CONCEALED


def test_events_below_the_level_are_not_written() -> None:
    out = io.StringIO()
    logs.configure(level="warning", form="json", stream=out)
    logs.get_logger("x").info("quiet")
    logs.get_logger("x").warning("loud")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud"]


def test_what_libraries_log_becomes_an_event_too() -> None:
    out = io.StringIO()
    logs.configure(level="info", form="json", service="logic", stream=out)
    logging.getLogger("some.library").warning("broker %s is away", "b1")
    logging.getLogger("some.library").info("chatter")
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["logger"], event["service"]) == ("broker b1 is away", "some.library", "logic")


def test_an_exception_is_in_the_same_line() -> None:
    out = io.StringIO()
    logs.configure(level="info", form="json", stream=out)
    try:
        raise ValueError("broken")
    except ValueError:
        logs.get_logger("x").exception("request failed")
    (line,) = out.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_for_people_it_is_text() -> None:
    out = io.StringIO()
    logs.configure(level="info", form="console", node="n", stream=out)
    logs.get_logger("x").info("node ready", address="127.0.0.1:1")
    assert "node ready" in out.getvalue()
    assert "address=127.0.0.1:1" in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_a_client_calls_itself_is_no_line_and_no_command_of_a_terminal(form: Literal["json", "console"]) -> None:
    out = io.StringIO()
    logs.configure(level="info", form=form, stream=out)
    logs.get_logger("x").info("connection opened", device="phone\n\x1b[2J2026-01-01 [info] all is well")
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("library", [False, True], ids=["ours", "a-library"])
def test_a_traceback_has_no_values_of_variables(form: Literal["json", "console"], library: bool) -> None:
    def receive(token: str, data: bytes) -> None:
        hello = {"token": token, "data": data}
        raise LookupError("a defect", len(hello))

    token, message = "eyJhbGciOiJ", b"a secret message"
    out = io.StringIO()
    logs.configure(level="info", form=form, stream=out)
    try:
        receive(token, message)
    except LookupError:
        if library:
            logging.getLogger("asyncio").exception("it failed")
        else:
            logs.get_logger("x").exception("connection failed")
    assert "LookupError" in out.getvalue()
    assert token not in out.getvalue()
    assert message.decode() not in out.getvalue()
