"""A node of the cluster as a process: its command, its settings, and the question whether it is ready."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tidings_server
from tools.cli.credentials import speaks_tls
from tools.cli.stack.ports import NodeKind, NodePorts, address
from tools.cli.stack.programs.probing import http_get
from tools.cli.stack.programs.program import NotReadyError
from tools.cli.stack.variables import for_nodes

MAILBOX_PARTITIONS = 64  # the most access nodes of a local stack

DRAIN_DEADLINE_S = 30.0


def drain_deadline_s(environment: Mapping[str, str]) -> float:
    """The nodes' own deadline, as far as it can be known: the environment's, the file's, the default."""
    try:
        if given := environment.get("TIDINGS_DRAIN_DEADLINE_S"):
            return float(given)
        if file := environment.get("TIDINGS_CONFIG"):
            return float(tomllib.loads(Path(file).read_text()).get("drain_deadline_s", DRAIN_DEADLINE_S))
    except (OSError, ValueError):  # the nodes tell what is wrong with it
        pass
    return DRAIN_DEADLINE_S


@dataclass(frozen=True, slots=True)
class Wiring:
    """What all nodes of a stack share."""

    cluster: str
    etcd: str
    kafka: str
    mongodb: str
    secret_file: str
    operator_token_file: str
    placement: str | None
    inherited: Mapping[str, str]
    kafka_replication: int = 1


@dataclass(frozen=True, slots=True)
class Node:
    node_kind: NodeKind
    index: int
    ports: NodePorts
    wiring: Wiring
    program: tuple[str, ...] = ()

    @property
    def stop_timeout_s(self) -> float:
        """A node ends itself at its drain deadline; only one that cannot is ended by force."""
        return drain_deadline_s(self.wiring.inherited) + 5

    @property
    def name(self) -> str:
        return f"{self.node_kind}-{self.index}"

    @property
    def kind(self) -> str:
        return str(self.node_kind)

    @property
    def addresses(self) -> Mapping[str, str]:
        ops = f"http://{address(self.ports.ops)}"
        if self.ports.ws is None or self.ports.tcp is None:
            return {"rpc": address(self.ports.rpc), "ops": ops}
        scheme = "wss" if speaks_tls(self.wiring.inherited) else "ws"
        return {"ws": f"{scheme}://{address(self.ports.ws)}/v1/ws", "tcp": address(self.ports.tcp), "ops": ops}

    def prepare(self) -> None:
        """Nothing: a node keeps nothing on disk."""

    def command(self) -> Sequence[str]:
        module = f"services.{self.node_kind}"
        return [*self.program, module] if self.program else tidings_server.program(module)

    def environment(self) -> Mapping[str, str]:
        """The user's own settings win, except for the addresses and names, which the stack gives out."""
        wiring = self.wiring
        defaults = {
            "TIDINGS_MAILBOX_PARTITIONS": str(MAILBOX_PARTITIONS),
            "TIDINGS_KAFKA_REPLICATION": str(wiring.kafka_replication),
            "TIDINGS_PLACEMENT": "ring",
            "TIDINGS_TOKEN_SECRET_FILE": wiring.secret_file,
            "TIDINGS_OPERATOR_TOKEN_FILE": wiring.operator_token_file,
            "PYTHONUNBUFFERED": "1",
        }
        given = {
            "TIDINGS_CLUSTER": wiring.cluster,
            "TIDINGS_NODE": self.name,
            "TIDINGS_ETCD_ENDPOINTS": wiring.etcd,
            "TIDINGS_KAFKA_BOOTSTRAP": wiring.kafka,
            "TIDINGS_MONGODB_URI": wiring.mongodb,
            "TIDINGS_RPC_LISTEN": address(self.ports.rpc),
            "TIDINGS_OPS_LISTEN": address(self.ports.ops),
        }
        if wiring.placement is not None:
            given["TIDINGS_PLACEMENT"] = wiring.placement
        if self.ports.ws is not None and self.ports.tcp is not None:
            given["TIDINGS_WS_LISTEN"] = address(self.ports.ws)
            given["TIDINGS_TCP_LISTEN"] = address(self.ports.tcp)
        return {**defaults, **for_nodes(wiring.inherited), **given}

    async def probe(self) -> None:
        status, text = await http_get(f"http://{address(self.ports.ops)}/readyz")
        if status != 200:
            raise NotReadyError(text.strip()[:300], draining="drain" in text.lower())

    def advice(self, last_lines: Sequence[str]) -> str:
        if any("No module named" in line for line in last_lines):
            return "The installation is not complete: run `make setup`."
        return "Its log says why; `tidings config check` looks at the settings."
