"""What every node is told at its start, whatever its kind; checked before it runs.

A service's settings are a subclass of `NodeSettings` in its own file (such as access/settings.py); units are in the
names and each description tells the trade-off (docs/configuration.md is made from them).

    sources.py      reads them from the environment and one TOML file
    describe.py     puts them in words
    security.py     those that keep others out; production.py: what `profile` production refuses

Does not know: what a setting is used for, and who reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from services.common.settings import production
from services.common.settings.addresses import means_every, split_address
from services.common.settings.production import Objection
from services.common.settings.security import SecuritySettings

PREFIX = "TIDINGS_"

Origin = Literal["default", "file", "environment", "argument"]


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
