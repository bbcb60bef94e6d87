"""Kafka of the local stack: broker and controller in one process (KRaft), small; ready when it is one of the brokers.

Usually one; several make one cluster, whose topics then survive the loss of a broker.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.common.settings.security import SecuritySettings
from tools.cli.failure import Failure
from tools.cli.stack.ports import Ports, address
from tools.cli.stack.programs.probing import check_listens
from tools.cli.stack.programs.program import NotReadyError, plain_environment

REPLICAS_MAX = 3
CLUSTER_ID = "dGlkaW5ncy1sb2NhbC0xIQ"  # 16 bytes in base64; the same in every local stack
FORMAT_TIMEOUT_S = 60.0

# What a laptop wants: few threads, small preallocated files, old records gone soon. Records are durable in MongoDB.
# A broker that was killed is let in again only when its session has run out: 9 s by default, measured as 12 s in all.
PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{broker},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
delete.topic.enable=true
offsets.topic.num.partitions=1
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={insync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={insync}
default.replication.factor={replicas}
min.insync.replicas={insync}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
message.max.bytes=8388608
log.segment.bytes=67108864
log.index.size.max.bytes=1048576
log.retention.hours=24
log.retention.bytes=268435456
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
"""


@dataclass(frozen=True, slots=True)
class Kafka:
    """`member` of `members`. `advertised`: where its clients are sent to, if not to itself (the tests put a proxy
    there)."""

    program: tuple[str, ...]
    storage_program: tuple[str, ...]
    ports: Ports
    data: Path
    inherited: Mapping[str, str]
    name: str = "kafka"
    member: int = 0
    members: int = 1
    advertised: str = ""
    kind: str = "backend"
    stop_timeout_s: float = 20.0

    @property
    def here(self) -> str:
        return address(self.ports.kafka_of(self.member))

    @property
    def addresses(self) -> Mapping[str, str]:
        return {"address": self.here}

    @property
    def listens(self) -> tuple[int, ...]:
        return self.ports.kafka_of(self.member), self.ports.kafka_controller_of(self.member)

    @property
    def properties_file(self) -> Path:
        return self.data / "server.properties"

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs = self.data / "records"
        controllers = [address(self.ports.kafka_controller_of(member)) for member in range(self.members)]
        self.properties_file.write_text(
            PROPERTIES.format(
                node=self.member + 1,
                voters=",".join(f"{node}@{controller}" for node, controller in enumerate(controllers, start=1)),
                broker=self.here,
                controller=controllers[self.member],
                advertised=self.advertised or self.here,
                replicas=replicas(self.members),
                insync=max(1, replicas(self.members) - 1),
                data=logs,
            )
        )
        if not (logs / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        try:
            outcome = subprocess.run(
                [*self.storage_program, "format", "-t", CLUSTER_ID, "-c", str(self.properties_file)],
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=FORMAT_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failure(f"Kafka's storage could not be prepared: {error}.", "Run `tidings doctor`.") from error
        if outcome.returncode:
            lines = (outcome.stdout + outcome.stderr).strip().splitlines()[-5:]
            raise Failure("Kafka's storage could not be prepared: " + " / ".join(lines), "Run `tidings doctor`.")

    def command(self) -> Sequence[str]:
        return [*self.program, str(self.properties_file)]

    def environment(self) -> Mapping[str, str]:
        return plain_environment(self.inherited)

    async def probe(self) -> None:
        if self.member + 1 not in await probe_kafka(self.here):
            raise NotReadyError(f"Kafka at {self.here} is not one of its brokers yet")

    def advice(self, last_lines: Sequence[str]) -> str:
        text = "\n".join(last_lines)
        if "OutOfMemoryError" in text or "Cannot allocate memory" in text:
            return "There is not enough memory: Kafka needs about 400 MB."
        if "No space left" in text:
            return "The disk is full: make room."
        return f"If its data is damaged, remove {self.data} (the messages themselves are in MongoDB)."


def replicas(members: int) -> int:
    """The replicas of each topic on so many brokers."""
    return min(members, REPLICAS_MAX)


async def probe_kafka(bootstrap: str, security: SecuritySettings | None = None) -> set[int]:
    """The first server that answers must tell the cluster's brokers: their ids.

    `security`: of a Kafka that the user runs.
    """
    await check_listens(bootstrap)  # a cheap first look: the client's own try is dear
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    from services.common.bus.kafka.security import kafka_security_of

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its tries are our probes: no news
    try:
        options = kafka_security_of(security).options() if security is not None else {}
    except OSError as error:
        raise NotReadyError(f"the certificates or the login for Kafka cannot be used: {error}") from error
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=3000, **options)
    try:
        await client.bootstrap()
        brokers = {int(broker.nodeId) for broker in client.cluster.brokers()}
        if not brokers:
            raise NotReadyError(f"Kafka at {bootstrap} has no broker yet")
        return brokers
    except KafkaError as error:
        raise NotReadyError(f"Kafka at {bootstrap} does not answer ({error})", silent=True) from error
    finally:
        await client.close()
