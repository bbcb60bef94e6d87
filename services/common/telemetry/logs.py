"""Logs: events with a constant text and bound names, as JSON or for people, on standard error.

    log = logs.get_logger(__name__)
    log.info("connection opened", connection=id, transport="ws")

The text never changes, what varies is in the names: so that events can be counted and searched. The libraries' own
logging goes the same way, from WARNING on.

Guarantees: values under names that may hold a secret are replaced (`CONCEALED`), tracebacks have no values of variables
in either form, one event is one line in JSON, and for people no bound value has control characters.
Does not know: where the lines go.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from services.common.telemetry import tracing

CONCEALED = "(hidden)"
SECRET_NAMES = frozenset(
    {
        "token",
        "secret",
        "password",
        "authorization",
        "cookie",
        "private_key",
        "operator_token",
        "mongodb_uri",
        "content",
        "text",
    }
)
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for one module; it follows `configure` even if that is called later."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name.removeprefix("services.")))


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["json", "console"],
    service: str = "",
    node: str = "",
    stream: TextIO | None = None,
) -> None:
    """Called once by the process, before its first event."""
    out = sys.stderr if stream is None else stream
    identity = {key: value for key, value in (("service", service), ("node", node)) if value}

    def identify(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**identity, **event}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        identify,
        traced,
        conceal,
    ]
    structlog.configure(
        processors=[*shared, *_renderers(form, out)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(form, out)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def traced(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An event that happens while a sampled message is worked on says which."""
    if "trace_id" not in event and (traceparent := tracing.current()):
        event["trace_id"] = tracing.id_of(traceparent)
    return event


def conceal(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Nothing that could be a secret, and nothing that a user wrote, goes into a log."""
    for name in event.keys() & SECRET_NAMES:
        event[name] = CONCEALED
    return event


def printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What a client calls itself must not write lines of its own, or obey as a command in a terminal."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable() and name not in {"exception", "event"}:
            event[name] = value.encode("unicode_escape").decode()
    return event


def _renderers(form: str, out: TextIO) -> list[Processor]:
    if form == "console":
        colours = getattr(out, "isatty", lambda: False)()
        # Without the values of variables, which the library shows if rich is installed: they hold tokens and messages.
        plain = structlog.dev.plain_traceback
        return [
            printable,
            structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="time", exception_formatter=plain),
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: dict[str, Any], **_: Any) -> str:
    import msgspec

    return msgspec.json.encode(event, enc_hook=str).decode()
