"""Settings: what a node is told at its start, from TIDINGS_* variables or one TOML file, checked before it runs.

A service's settings are a subclass of `NodeSettings` in its own `settings.py`; units are in the names and each
description tells the trade-off (docs/configuration.md is made from them). The environment wins over the file, the
file over the default.

Guarantees: a value that `load` returns has passed every check; a mistake is one `SettingsError` that holds all
mistakes at once, each with the name, the value, what is allowed and, for an unknown name, the nearest known one.
Secrets are never printed.
Does not know: what a setting is used for, and who reads it.
"""

from __future__ import annotations

import difflib
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from services.common.settings import production
from services.common.settings.production import Objection
from services.common.settings.security import SecuritySettings

PREFIX = "TIDINGS_"
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
HIDDEN = "(hidden)"
PORT_MAX = 65535
PORT_DIGITS_MAX = 5

Origin = Literal["default", "file", "environment", "argument"]
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


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as `tidings config show` and the documentation print it."""

    name: str
    variable: str
    value: str
    default: str
    origin: Origin
    meaning: str
    allowed: str


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 8300) of "127.0.0.1:8300"; IPv6 in brackets; ValueError says what is wrong."""
    host, colon, port = address.rpartition(":")
    digits = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX
    if not colon or not host or not digits or int(port) > PORT_MAX:
        raise ValueError("should be host:port, for example 127.0.0.1:8300")
    if host.startswith("[") and host.endswith("]"):
        try:
            IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError("should have an IPv6 address in the brackets, for example [::1]:8300") from None
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError("should have an IPv6 address in brackets, for example [::1]:8300")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def means_every(host: str) -> bool:
    """Whether who listens there listens on every address of the machine, so that nobody can be told to call it."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return not any(socket.inet_aton(host))  # "0", which the system takes as well
        except OSError:
            return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_unspecified


def _address(value: str) -> str:
    split_address(value)
    return value


def _optional_address(value: str) -> str:
    return _address(value) if value else value


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Address = Annotated[str, AfterValidator(_address)]
OptionalAddress = Annotated[str, AfterValidator(_optional_address)]
CommaSeparated = Annotated[list[str], BeforeValidator(_split)]
SECRET: dict[str, Any] = {"secret": True}  # a mark, not a secret  # nosec B105


class NodeSettings(SecuritySettings):
    """What every node has, whatever its kind."""

    service: ClassVar[str] = ""

    cluster: str = Field(
        "local",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Name of the cluster: the prefix of its keys in etcd and the audience (`aud`) that its tokens "
        "must carry.",
    )
    node: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Name of this node, unique in the cluster and kept over restarts: its place on the ring depends "
        "on it.",
    )
    profile: Literal["local", "production"] = Field(
        "local",
        description="`production` refuses to start with settings that are only safe on one machine, and says which "
        "(docs/security.md); `local` allows them.",
    )
    plaintext_backends: bool = Field(
        False,
        description="Allows etcd, Kafka and MongoDB without TLS under `profile` production: for a network that nobody "
        "else reaches, or that is encrypted underneath.",
    )
    etcd_endpoints: CommaSeparated = Field(
        ["127.0.0.1:2379"],
        min_length=1,
        description="Addresses of etcd, comma separated. With several, the node goes on when one of them is away.",
    )
    lease_ttl_s: int = Field(
        5,
        ge=2,
        le=60,
        description="How long a node that died still counts as alive. Shorter: faster take-over, and a shorter stall "
        "of the "
        "process or of etcd makes a healthy node leave and come back.",
    )
    weight: float = Field(
        1.0,
        gt=0,
        le=100,
        description="Share of the ring of this node against the others: 2.0 gets twice the slots of 1.0. For "
        "machines of unequal size.",
    )
    kafka_bootstrap: CommaSeparated = Field(
        ["127.0.0.1:9092"], min_length=1, description="Addresses of Kafka brokers to begin with, comma separated."
    )
    kafka_topic_prefix: str = Field(
        "tidings",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="What the names of the topics begin with; two clusters that share a Kafka need two prefixes.",
    )
    kafka_replication: int = Field(
        1,
        ge=1,
        le=7,
        description="Replicas of each topic that is created. 1 fits one broker; 3 survives the loss of a broker and "
        "costs its writes.",
    )
    mailbox_partitions: int = Field(
        64,
        ge=1,
        le=4096,
        description="Partitions of the mailbox topic: the most access nodes there can ever be. Written once for the "
        "cluster; a node "
        "with another number refuses to start. More partitions cost the broker memory and start time.",
    )
    broadcast_partitions: int = Field(
        4,
        ge=1,
        le=256,
        description="Partitions of the broadcast topic, which every access node reads whole. More of them spread its "
        "writes over brokers.",
    )
    mongodb_uri: str = Field(
        "mongodb://127.0.0.1:27017",
        pattern=r"^mongodb(\+srv)?://.+",
        repr=False,
        json_schema_extra=SECRET,
        description="Where MongoDB is. A replica set (also of one) is needed: without one there is no durable "
        "acknowledgement.",
    )
    mongodb_database: str = Field(
        "tidings", pattern=r"^[A-Za-z0-9_-]{1,60}$", description="Database that holds the cluster's collections."
    )
    rpc_listen: Address = Field("127.0.0.1:8300", description="Where this node listens for the other nodes (gRPC).")
    rpc_advertise: OptionalAddress = Field(
        "", description="Where the other nodes reach it; empty: `rpc_listen`. Needed when that is 0.0.0.0 or [::]."
    )
    ops_listen: Address = Field(
        "127.0.0.1:8200",
        description="Where /healthz, /readyz, /metrics and /debug are. They have no login: loopback or the pods' "
        "network only.",
    )
    rpc_timeout_s: float = Field(
        2.0,
        gt=0,
        le=60,
        description="Deadline of one call to another node. Shorter: a dead node is left sooner; a busy one is "
        "retried too soon.",
    )
    rpc_budget_s: float = Field(
        6.0,
        gt=0,
        le=120,
        description="Time for all tries of one call, over several nodes; then the client is told UNAVAILABLE with a "
        "retry time.",
    )
    drain_deadline_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="How long a node that was asked to leave may take to move its clients and finish its work; then "
        "it ends.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log events that are written; `debug` has several lines per connection."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json`: one object a line; `console`: for people."
    )
    otlp_endpoint: str = Field(
        "", description="Where traces go (OTLP over gRPC, for example http://127.0.0.1:4317); empty: no tracing at all."
    )
    trace_sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the messages that are traced; a traced one costs about ten times the CPU.",
    )

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        for listen, told in self.told_to_others():
            if means_every(split_address(getattr(self, listen))[0]) and not getattr(self, told):
                raise ValueError(f"{told} must be set when {listen} is every address: others cannot call that one")
        return self

    def told_to_others(self) -> tuple[tuple[str, str], ...]:
        """Settings of where this node listens, each with the one that says where others reach it instead."""
        return (("rpc_listen", "rpc_advertise"),)

    @model_validator(mode="after")
    def _fits_its_budget(self) -> Self:
        if self.rpc_budget_s < self.rpc_timeout_s:
            raise ValueError("rpc_budget_s must not be below rpc_timeout_s: not even one try would fit")
        return self

    def origins(self) -> dict[str, Origin]:
        """Where the values that were given came from, by name."""
        return dict(self._origins)

    def insecurities(self) -> Iterator[Objection]:
        """What forbids these settings under `profile` production."""
        if self.rpc_tls_certificate_file is None:
            yield Objection(
                "rpc_tls_certificate_file",
                "calls between nodes are neither encrypted nor checked: set it with rpc_tls_key_file, rpc_tls_ca_file",
            )
        for name in ("rpc_tls_key_file", "etcd_tls_key_file", "kafka_tls_key_file"):
            yield from production.of_private_file(name, getattr(self, name))
        yield from production.of_private_file("kafka_sasl_password_file", self.kafka_sasl_password_file)
        yield from production.of_ops_address(split_address(self.ops_listen)[0])
        if not self.plaintext_backends:
            yield from production.of_etcd(self.etcd_endpoints, tls=self.etcd_tls_ca_file is not None)
            yield from production.of_kafka(self.kafka_bootstrap, self.kafka_security)
        yield from production.of_mongodb(self.mongodb_uri, plaintext_allowed=self.plaintext_backends)

    @property
    def rpc_address(self) -> str:
        """Where others reach this node."""
        return self.rpc_advertise or self.rpc_listen


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


def describe(settings: NodeSettings) -> list[Setting]:
    """Every setting with its value and where that came from, secrets hidden."""
    origins = settings.origins()
    unsaid: Origin = "argument"
    return [
        _setting(
            name,
            info,
            getattr(settings, name),
            origins.get(name, "default" if _is_default(info, settings, name) else unsaid),
        )
        for name, info in type(settings).model_fields.items()
    ]


def describe_class(cls: type[NodeSettings]) -> list[Setting]:
    """Every setting of a service with its default: what the documentation is made of."""
    return [
        _setting(name, info, info.get_default(call_default_factory=True, validated_data={}), "default")
        for name, info in cls.model_fields.items()
    ]


def _is_default(info: FieldInfo, settings: NodeSettings, name: str) -> bool:
    return not info.is_required() and bool(getattr(settings, name) == info.default)


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
        problems.append(Problem(CONFIG_VARIABLE, path, f"the file is not TOML: {error}"))
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
        value = HIDDEN if info and _is_secret(info) else str(mistake["input"])
        yield Problem(shown, value, text)


def _written(name: str, origins: Mapping[str, Origin]) -> str:
    """As whoever set it wrote it."""
    return name if origins.get(name) == "file" else f"{PREFIX}{name.upper()}"


def _setting(name: str, info: FieldInfo, value: object, origin: Origin) -> Setting:
    default = (
        "(required)"
        if info.is_required()
        else _shown(info, info.get_default(call_default_factory=True, validated_data={}))
    )
    return Setting(
        name=name,
        variable=PREFIX + name.upper(),
        value="(required)" if origin == "default" and info.is_required() else _shown(info, value),
        default=default,
        origin=origin,
        meaning=info.description or "",
        allowed=_allowed(info),
    )


def _is_secret(info: FieldInfo) -> bool:
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("secret"))


def _shown(info: FieldInfo, value: object) -> str:
    if _is_secret(info):
        return without_password(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def without_password(value: str) -> str:
    """An address stays readable, all that could be secret in it does not."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return HIDDEN
    if not parts.scheme or not parts.netloc:
        return HIDDEN
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + (
        f"/{HIDDEN}" if "@" in parts.netloc or parts.query else parts.path
    )


def _allowed(info: FieldInfo) -> str:
    """The limits in words: from the type's choices and the bounds of the field."""
    choices = (
        getattr(info.annotation, "__args__", ()) if getattr(info.annotation, "__origin__", None) is Literal else ()
    )
    if choices:
        return " | ".join(str(choice) for choice in choices)
    bounds = {
        bound: getattr(rule, bound)
        for rule in info.metadata
        for bound in ("ge", "gt", "le", "lt")
        if hasattr(rule, bound)
    }
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(f"{signs[bound]} {limit:g}" for bound, limit in bounds.items())
