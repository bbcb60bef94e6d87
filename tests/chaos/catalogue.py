"""Every case by its name, with the stack that it needs.

A case breaks something and mends it again. It waits for nothing that it need not: the conductor (run.py) waits until
all is healthy, lets the load go on, and judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.chaos.cases import cuts, disk, failover, overload, sessions, slow_readers, soak, storms
from tests.chaos.cases.faults import freeze, kill, kill_everything, mixed, restart, scale_access
from tests.chaos.scene import Act
from tests.support.cluster.stack import Shape
from tests.support.network.links import Harm

PLAIN = Shape()


@dataclass(frozen=True, slots=True)
class Case:
    """`quick`: part of `make test`. `load_on`: the node where all users of the load belong ("": anywhere).

    `graceful`: nothing breaks, so no message may wait until a heartbeat finds it.
    """

    name: str
    does: str
    act: Act
    shape: Shape = PLAIN
    quick: bool = False
    load_on: str = ""
    graceful: bool = False


def _each(names: Iterable[str], verb: str, does: str, make: Callable[[str], Act], *, quick: bool = False) -> list[Case]:
    return [Case(f"{verb}-{name.removesuffix('-0')}", does.format(name), make(name), quick=quick) for name in names]


def _cut(name: str, does: str, *harms: Harm, shape: Shape = cuts.SHAPE) -> Case:
    return Case(name, does, cuts.harm(*harms), shape)


NODES = ("access-0", "logic-0", "storage-0")
BACKENDS = ("etcd", "kafka", "mongodb")

CASES = (
    *_each(NODES, "kill", "kill -9 of {}", kill, quick=True),
    *_each(BACKENDS, "kill", "kill -9 of {}, which is started again", kill, quick=True),
    *_each(NODES, "freeze", "{} is stopped (SIGSTOP) for longer than its lease", freeze),
    *_each(BACKENDS, "freeze", "{} is stopped (SIGSTOP) for some seconds", freeze),
    *_each(BACKENDS, "restart", "tidings restart {}", restart),
    Case("drain-access", "tidings restart access-0: SIGTERM under load", restart("access-0"), graceful=True),
    Case("restart-all", "tidings restart all: a rolling restart of every node", restart("all"), graceful=True),
    Case("scale-access", "tidings scale access=5, then 1, then 2", scale_access, graceful=True),
    Case("kill-everything", "kill -9 of all nodes and all backends at once", kill_everything),
    Case("mixed", "kills and stops of anything, in an order from the seed", mixed),
    Case("session-recovery", "the node of a session dies: resumption, fencing, presence", sessions.recovery),
    Case("session-fence", "a session's node sleeps while its device logs in elsewhere", sessions.fence),
    _cut("cut-access-logic", "every access node and logic-0 do not reach each other", Harm("access-*", "logic-0")),
    _cut("cut-logic-storage", "every logic node and storage-0 do not reach each other", Harm("logic-*", "storage-0")),
    _cut("cut-storage-storage", "storage nodes do not reach each other", Harm("storage-*", "storage-*")),
    _cut(
        "cut-access-access",
        "access nodes do not reach each other (placement any)",
        Harm("access-*", "access-*"),
        shape=cuts.VISITS,
    ),
    _cut("cut-storage-mongodb", "storage-0 does not reach MongoDB", Harm("storage-0", "mongodb")),
    _cut("cut-logic-kafka", "logic-0 does not reach Kafka", Harm("logic-0", "kafka")),
    _cut("cut-access-kafka", "access-0 does not reach Kafka", Harm("access-0", "kafka")),
    _cut("cut-storage-etcd", "storage-0 does not reach etcd: its lease runs out", Harm("storage-0", "etcd")),
    _cut("cut-access-etcd", "access-0 does not reach etcd: its lease runs out", Harm("access-0", "etcd")),
    _cut("deaf-logic-storage", "storage-0 hears logic, its answers are lost", Harm("logic-*", "storage-0", "back")),
    _cut("deaf-storage-mongodb", "MongoDB hears storage-0, its answers are lost", Harm("storage-0", "mongodb", "back")),
    *(
        Case(f"isolate-{name[:-2]}", f"{name} is cut off from everyone", cuts.isolate(name), cuts.SHAPE)
        for name in NODES
    ),
    _cut("slow-everything", "every link between processes is 50 ms slower each way", Harm("*", "*", delay_s=0.05)),
    _cut("slow-mongodb", "MongoDB is 300 ms slower each way", Harm("*", "mongodb", delay_s=0.3)),
    Case("mixed-cuts", "links are cut and slowed in an order from the seed", cuts.mixed_cuts, cuts.SHAPE),
    Case("mongodb-primary", "kill -9 of the primary of three", failover.kill_primary, failover.SHAPE),
    Case(
        "mongodb-primary-frozen", "the primary of three is stopped (SIGSTOP)", failover.freeze_primary, failover.SHAPE
    ),
    Case("kafka-broker", "kill -9 of one broker of three", failover.kill_broker, failover.SHAPE),
    Case("kafka-broker-frozen", "one broker of three is stopped (SIGSTOP)", failover.freeze_broker, failover.SHAPE),
    Case("full-disk", "no space is left for MongoDB", disk.fill, disk.SHAPE),
    Case("rolling-5000", "tidings restart access with 5,000 clients connected", storms.rolling_restart(), storms.SHAPE),
    Case(
        "storm-5000",
        "kill -9 of the access node that holds 5,000 clients; the load is on the other one",
        storms.reconnect_storm(),
        storms.SHAPE,
        load_on="access-1",
    ),
    Case(
        "slow-readers",
        "500 connections stop reading while their large group talks",
        slow_readers.slow_readers,
        slow_readers.SHAPE,
    ),
    Case("soak", "connect, send, disconnect, kill, again and again", soak.soak, soak.SHAPE),
    Case("overload", "three times the load that the cluster carries", overload.overload, overload.SHAPE),
)


def chosen(text: str) -> list[Case]:
    """`quick`, `all`, or names. Raises ValueError with the names that there are."""
    if text in ("all", "quick"):
        return [case for case in CASES if case.quick or text == "all"]
    by_name = {case.name: case for case in CASES}
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(f"no case {', '.join(unknown)}; there are quick, all, {', '.join(by_name)}")
    return [by_name[name] for name in names]
