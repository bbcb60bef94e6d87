"""What one `up` shall run: numbers, ports, placement, and where each backend comes from.

How many members Kafka and MongoDB have is a part of their data: a folder keeps the numbers that it was made with.

A backend whose address is set in the environment is the user's own and is not started. The plan is a value; it travels
as JSON to a detached supervisor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from services.common.settings.describe import without_password
from services.common.settings.security import SecuritySettings
from tools.cli.credentials import security_of
from tools.cli.failure import WrongUse
from tools.cli.stack.folder import Folder
from tools.cli.stack.policy import check_number
from tools.cli.stack.ports import BASE_MAX, BASE_MIN, MEMBERS_MAX, NodeKind, Ports, address
from tools.cli.stack.programs import supply as programs
from tools.cli.stack.programs.etcd import Etcd, probe_etcd
from tools.cli.stack.programs.kafka import Kafka, probe_kafka, replicas
from tools.cli.stack.programs.mongodb import MongoDB, probe_mongodb, uri_of
from tools.cli.stack.programs.nodes import Node, Wiring

PLACEMENTS = ("ring", "any")
GIVEN_BY = {"etcd": "TIDINGS_ETCD_ENDPOINTS", "kafka": "TIDINGS_KAFKA_BOOTSTRAP", "mongodb": "TIDINGS_MONGODB_URI"}


@dataclass(frozen=True, slots=True)
class Plan:
    port_base: int
    access: int
    logic: int
    storage: int
    placement: str | None = None
    restart: bool = True
    mongodb_members: int = 0  # 0: as many as the folder was made with; a new one has 1
    kafka_brokers: int = 0
    node_program: tuple[str, ...] = field(default=())  # of the tests: what stands for `python -m`
    kafka_advertised: str = ""  # of the tests: where clients of the one broker are sent to

    def check(self) -> Plan:
        """Raises WrongUse."""
        if not BASE_MIN <= self.port_base <= BASE_MAX:
            raise WrongUse(
                f"--port-base {self.port_base} leaves no room for 1000 ports.", f"Give {BASE_MIN} to {BASE_MAX}."
            )
        if self.placement is not None and self.placement not in PLACEMENTS:
            raise WrongUse(f"--placement {self.placement!r} is not known.", "Say ring or any.")
        for option, number in (("--mongodb-members", self.mongodb_members), ("--kafka-brokers", self.kafka_brokers)):
            if not 0 <= number <= MEMBERS_MAX:
                raise WrongUse(f"{option} {number} is not possible.", f"Give 1 to {MEMBERS_MAX}; 3 survive a loss.")
        return self

    def check_numbers(self) -> Plan:
        """At least one of each kind, and no more than there is room for. Raises WrongUse."""
        for kind, number in self.numbers.items():
            check_number(kind, number)
        return self

    @property
    def numbers(self) -> Mapping[NodeKind, int]:
        return {NodeKind.ACCESS: self.access, NodeKind.LOGIC: self.logic, NodeKind.STORAGE: self.storage}

    @property
    def ports(self) -> Ports:
        return Ports(self.port_base)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        return cls(**{**value, "node_program": tuple(value.get("node_program", ()))})


@dataclass(frozen=True, slots=True)
class External:
    """A backend that the user runs: asked once whether it is there, never started or stopped."""

    name: str
    address: str
    security: SecuritySettings = field(default_factory=SecuritySettings)

    @property
    def shown(self) -> str:
        """The address without a password in it."""
        return without_password(self.address) if "://" in self.address else self.address

    async def probe(self) -> None:
        match self.name.partition("-")[0]:
            case "etcd":
                await probe_etcd(self.address.split(",", maxsplit=1)[0], self.security)
            case "kafka":
                await probe_kafka(self.address, self.security)
            case _:
                await probe_mongodb(self.address)


Backend = Etcd | Kafka | MongoDB


@dataclass(frozen=True, slots=True)
class Backends:
    started: tuple[Backend, ...]
    external: tuple[External, ...]
    addresses: Mapping[str, str]  # name -> what the nodes are told


def backends_of(plan: Plan, folder: Folder, environment: Mapping[str, str]) -> Backends:
    """Raises Failure when a program is missing, WrongUse when the folder was made with other members."""
    security = security_of(environment)
    external = tuple(
        External(name, environment[key], security) for name, key in GIVEN_BY.items() if environment.get(key)
    )
    own = [name for name in GIVEN_BY if name not in {backend.name for backend in external}]
    _check_own(own, security)
    found = programs.find(own, environment)
    ports = plan.ports
    members = {
        "kafka": _members("kafka", "--kafka-brokers", plan.kafka_brokers, folder) if "kafka" in own else 1,
        "mongodb": _members("mongodb", "--mongodb-members", plan.mongodb_members, folder) if "mongodb" in own else 1,
    }
    every: dict[str, Sequence[Backend]] = {
        "etcd": [Etcd(found.etcd, ports, folder.data_of("etcd"), environment)],
        "kafka": [
            Kafka(
                found.kafka,
                found.kafka_storage,
                ports,
                folder.data_of(name),
                environment,
                name,
                member,
                members["kafka"],
                plan.kafka_advertised,
            )
            for member, name in enumerate(_names("kafka", members["kafka"]))
        ],
        "mongodb": [
            MongoDB(found.mongod, ports, folder.data_of(name), environment, name, member, members["mongodb"])
            for member, name in enumerate(_names("mongodb", members["mongodb"]))
        ],
    }
    started = tuple(program for name in own for program in every[name])
    addresses = addresses_of(ports, environment, brokers=members["kafka"], members=members["mongodb"])
    return Backends(started, external, addresses)


def addresses_of(
    ports: Ports, environment: Mapping[str, str], *, brokers: int = 1, members: int = 1
) -> Mapping[str, str]:
    """What nodes are told: the user's own backends where they are given, else those of the stack."""
    own = {
        "etcd": address(ports.etcd),
        "kafka": ",".join(address(ports.kafka_of(member)) for member in range(brokers)),
        "mongodb": uri_of(ports, members),
    }
    return own | {name: environment[key] for name, key in GIVEN_BY.items() if environment.get(key)}


def wiring_of(plan: Plan, folder: Folder, addresses: Mapping[str, str], environment: Mapping[str, str]) -> Wiring:
    return Wiring(
        cluster=environment.get("TIDINGS_CLUSTER", "local"),
        etcd=addresses["etcd"],
        kafka=addresses["kafka"],
        mongodb=addresses["mongodb"],
        secret_file=environment.get("TIDINGS_TOKEN_SECRET_FILE", str(folder.secret_file)),
        operator_token_file=environment.get("TIDINGS_OPERATOR_TOKEN_FILE", str(folder.operator_token_file)),
        placement=plan.placement,
        inherited=environment,
        kafka_replication=1 if environment.get(GIVEN_BY["kafka"]) else replicas(addresses["kafka"].count(",") + 1),
    )


def node(plan: Plan, wiring: Wiring, kind: NodeKind, index: int) -> Node:
    return Node(kind, index, plan.ports.node(kind, index), wiring, plan.node_program)


def ports_needed(plan: Plan, backends: Backends) -> Iterator[int]:
    ports = plan.ports
    for kind, number in plan.numbers.items():
        for index in range(number):
            yield from ports.node(kind, index).all()
    for program in backends.started:
        yield from program.listens


def _check_own(own: Sequence[str], security: SecuritySettings) -> None:
    """The stack's own backends speak in the clear, on loopback. Raises WrongUse."""
    if "etcd" in own and security.etcd_tls_ca_file is not None:
        raise WrongUse(
            "TIDINGS_ETCD_TLS_CA_FILE is set, but the stack's own etcd speaks no TLS.",
            f"Unset it, or name your own etcd with {GIVEN_BY['etcd']}.",
        )
    if "kafka" in own and security.kafka_security != "plaintext":
        raise WrongUse(
            f"TIDINGS_KAFKA_SECURITY is {security.kafka_security}, but the stack's own Kafka speaks in the clear.",
            f"Unset it, or name your own Kafka with {GIVEN_BY['kafka']}.",
        )


def _names(backend: str, members: int) -> list[str]:
    """The first has the plain name, so that most stacks know no numbers."""
    return [backend, *(f"{backend}-{member}" for member in range(1, members))]


def _members(backend: str, option: str, wanted: int, folder: Folder) -> int:
    """The members that are wanted, if the folder's data are of so many. Raises WrongUse."""
    made = [name for name in _names(backend, MEMBERS_MAX) if folder.data_of(name).exists()]
    if made and wanted not in (0, len(made)):
        raise WrongUse(
            f"{option} {wanted}: the {backend} of {folder.path} was made with {len(made)}.",
            "Leave the option out, or give a new folder with --data.",
        )
    return len(made) or wanted or 1
