"""Where settings come from: TIDINGS_* variables, one TOML file, defaults. The first that has a value wins.

Guarantees: a value that `load` returns has passed every check; a mistake is one `SettingsError` that holds all
mistakes at once, each with the name, the value, what is allowed and, for an unknown name, the nearest known one.
Secrets are never in it.
Does not know: what a setting is used for.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from services.common.settings.describe import HIDDEN, is_secret
from services.common.settings.node import PREFIX, NodeSettings, Origin
from services.common.settings.security import SecuritySettings

CONFIG_VARIABLE = "TIDINGS_CONFIG"
# Names that are not settings of a node: those of the `tidings` command, and whatever others put below TIDINGS_X_.
COMMAND_NAMES = frozenset({CONFIG_VARIABLE, "TIDINGS_DATA", "TIDINGS_ETCD", "TIDINGS_OPERATOR_TOKEN"})
FREE_PREFIX = "TIDINGS_X_"
# Where each service's settings are: a name is unknown only if none of them has it, so that one environment can serve
# all nodes.
SERVICES: Mapping[str, tuple[str, str]] = {
    "access": ("services.access.settings", "AccessSettings"),
    "logic": ("services.logic.settings", "LogicSettings"),
    "storage": ("services.storage.settings", "StorageSettings"),
}

S = TypeVar("S", bound=SecuritySettings)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the name as the operator wrote it, its value ("" if there is none to show), and what to do."""

    name: str
    value: str
    advice: str

    def __str__(self) -> str:
        shown = f"{self.name}={self.value!r}" if self.value else self.name
        return f"{shown}: {self.advice}"


class SettingsError(Exception):
    """The settings cannot be used; `problems` lists every mistake."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def settings_class(service: str) -> type[NodeSettings]:
    """The settings class of a service by its name; the one place that knows where they are."""
    module, name = SERVICES[service]
    found: type[NodeSettings] = getattr(import_module(module), name)
    return found


def load(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """The settings of this process; SettingsError if anything is wrong, with every mistake."""
    environ = os.environ if environ is None else environ
    known = _known_fields(cls)
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for origin, written, name, value in _given(environ, problems):
        if name not in known:
            problems.append(_unknown(written, known, origin))
        elif name in cls.model_fields:
            values[name], origins[name] = value, origin
    try:
        settings = cls(**values)
    except ValidationError as error:
        raise SettingsError([*problems, *_translate(cls, error, origins)]) from None
    if isinstance(settings, NodeSettings):
        settings._origins = origins
        if settings.profile == "production":
            problems += [Problem(_written(name, origins), "", advice) for name, advice in settings.insecurities()]
    if problems:
        raise SettingsError(problems)
    return settings


def _given(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[Origin, str, str, Any]]:
    path = environ.get(CONFIG_VARIABLE, "")
    if path:
        for key, value in _read_file(path, problems).items():
            yield "file", key, key, value
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and variable not in COMMAND_NAMES and not variable.startswith(FREE_PREFIX):
            yield "environment", variable, variable.removeprefix(PREFIX).lower(), value


def _read_file(path: str, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(
            Problem(CONFIG_VARIABLE, path, f"the file cannot be read ({error.strerror}); name one that can")
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(Problem(CONFIG_VARIABLE, path, f"the file is not TOML ({error}); correct it there"))
    return {}


def _known_fields(cls: type[SecuritySettings]) -> set[str]:
    known = set(cls.model_fields)
    for service in SERVICES:
        try:
            known |= set(settings_class(service).model_fields)
        except ModuleNotFoundError:  # an image may hold one service only
            continue
    return known


def _unknown(written: str, known: set[str], origin: Origin) -> Problem:
    name = written.removeprefix(PREFIX).lower()
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    shown = [f"{PREFIX}{found.upper()}" if origin == "environment" else found for found in near]
    nearest = f"; did you mean {shown[0]}?" if shown else ""
    return Problem(
        written,
        "",
        f"there is no such setting{nearest} (`tidings config show` lists all; names that begin with TIDINGS_X_ are "
        "free)",
    )


def _translate(cls: type[SecuritySettings], error: ValidationError, origins: Mapping[str, Origin]) -> Iterator[Problem]:
    for mistake in error.errors():
        name = str(mistake["loc"][0]) if mistake["loc"] else ""
        text = mistake["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if not name:
            yield Problem(cls.__name__, "", text)
            continue
        shown = _written(name, origins)
        info = cls.model_fields.get(name)
        if mistake["type"] == "missing":
            yield Problem(shown, "", f"must be given: {info.description if info else text}")
            continue
        value = HIDDEN if info and is_secret(info) else str(mistake["input"])
        yield Problem(shown, value, text)


def _written(name: str, origins: Mapping[str, Origin]) -> str:
    """The name of a setting as whoever set it wrote it."""
    return name if origins.get(name) == "file" else f"{PREFIX}{name.upper()}"
