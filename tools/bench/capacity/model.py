"""What a cluster for so many users needs. Pure: a profile of use and measured costs in, a plan out.

The model is a sum: so many of each thing a second at the busiest time, times what each costs each part. It holds as
long as a thing costs the same in a cluster of any size, which the growth measurements show (docs/performance.md); what
does grow with the cluster, as every access node hears of it, is reckoned as that and told as a limit.

Does not know: networks, discs' speeds, other programs on the machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tidings_protocol.ids import SLOTS
from tools.bench.capacity.figures import PARTS, Figures

DAY_S = 86_400
NODES_MAX = 1000  # that the ring is proven for; see services/common/ring.py
PARTITIONS_MIN = 64
PARTITIONS_MAX = 1024
COPIES = 3  # of each Kafka partition, and members of a MongoDB shard
EVERYWHERE = 0.1  # of a core: what a node may spend on news that every node hears
RECORD_BYTES = 60  # beside the text, of a message on its way
SESSION_RECORD_BYTES = 60
# What a connection of a node takes besides, by findings/uvloop-tls-memory.sh and findings/README.md: 20 KB with TLS
# instead of 1.5; and once it brought a frame of 128 KB, for good, 193 KB instead of 20 in TLS, 160 instead of 4.7 in
# the WebSocket's read buffer. (KB are 1,024 bytes.)
TLS_BYTES = 18.5 * 1024
LARGE_FRAME_TLS_BYTES = 173 * 1024
LARGE_FRAME_WS_BYTES = 155 * 1024
MB, GB, TB = 1e6, 1e9, 1e12


@dataclass(frozen=True, slots=True)
class Profile:
    """How people use it, and what machines there are. Raises ValueError with a sentence."""

    online: int  # users connected at the busiest time
    messages_per_user_day: float = 40.0
    peak: float = 3.0  # the busiest hour, to the mean of the day
    direct_share: float = 0.7  # of messages; the others go to groups
    large_share: float = 0.0  # of messages, to groups above the threshold
    group_size: float = 20.0
    large_group_size: float = 1000.0
    online_share: float = 0.5  # of the recipients are online; the others fetch it later
    devices: float = 1.2  # connected, of a user who is online
    websocket_share: float = 1.0  # of connections
    tls_share: float = 1.0  # of connections; 0 if a balancer ends TLS
    large_frames_share: float = 0.0  # of connections brought a frame of 128 KB once
    signals_per_message: float = 1.0
    connects_per_user_day: float = 20.0
    text_bytes: float = 200.0
    retention_days: float = 365.0
    utilisation: float = 0.6  # of a core, at the busiest time
    node_memory_gb: float = 4.0
    broker_cores: float = 4.0
    shard_cores: float = 8.0
    shard_disk_tb: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} is 0 or more")
        shares = (
            "direct_share", "large_share", "online_share", "websocket_share", "tls_share", "large_frames_share",
        )  # fmt: skip
        for name in shares:
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share from 0 to 1")
        if self.direct_share + self.large_share > 1:
            raise ValueError("direct_share and large_share are together at most 1")
        if not 0 < self.utilisation <= 1:
            raise ValueError("utilisation is more than 0 and at most 1")
        for name in ("online", "peak", "devices", "node_memory_gb", "broker_cores", "shard_cores", "shard_disk_tb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is more than 0")


@dataclass(frozen=True, slots=True)
class Rates:
    """A second, at the busiest time."""

    messages: float
    direct: float
    grouped: float
    large: float
    recipients: float  # inbox entries
    deliveries: float
    large_deliveries: float  # of them to members of large groups
    synced: float
    signals: float
    connects: float
    connections: float  # at once


@dataclass(frozen=True, slots=True)
class Limit:
    """`at_online`: with so many users online it is reached, all else being the same."""

    name: str
    at_online: int
    why: str


@dataclass(frozen=True, slots=True)
class Needs:
    """`bound_by` says of each kind of node what its number follows from."""

    rates: Rates
    cores: Mapping[str, float]  # busy, of each part
    nodes: Mapping[str, int]  # access, logic, storage: processes, of one core each
    bound_by: Mapping[str, str]
    kafka_partitions: int
    kafka_brokers: int
    kafka_mb_per_s: float
    mongodb_shards: int
    mongodb_members: int
    stored_tb: float  # one copy
    memory_gb: Mapping[str, float]
    limits: tuple[Limit, ...]  # the first first

    def document(self) -> dict[str, Any]:
        return asdict(self)


def needs(profile: Profile, figures: Figures) -> Needs:
    rates = rates_of(profile)
    cores = {part: _busy_us(part, rates, figures) / 1e6 for part in PARTS}
    nodes, bound_by, memory = _nodes(profile, figures, rates, cores)
    everywhere = _everywhere_us(rates, figures)
    # News that every access node hears costs each of them.
    cores["access"] += nodes["access"] * sum(everywhere.values()) / 1e6
    nodes["access"] = max(nodes["access"], math.ceil(cores["access"] / profile.utilisation))
    stored = _stored_bytes(profile, figures)
    mb_per_s = _kafka_bytes(profile, rates, nodes["access"]) / MB
    brokers = max(COPIES, math.ceil(COPIES * cores["kafka"] / profile.broker_cores / profile.utilisation))
    shards = {
        "processors": math.ceil(cores["mongodb"] / profile.shard_cores / profile.utilisation),
        "discs": math.ceil(stored / (profile.shard_disk_tb * TB * profile.utilisation)),
    }
    bound_by["mongodb"] = max(shards, key=lambda name: shards[name])
    return Needs(
        rates=rates,
        cores={part: round(value, 2) for part, value in cores.items()},
        nodes=nodes,
        bound_by=bound_by,
        kafka_partitions=_partitions(nodes["access"]),
        kafka_brokers=brokers,
        kafka_mb_per_s=round(mb_per_s, 2),
        mongodb_shards=max(1, *shards.values()),
        mongodb_members=COPIES * max(1, *shards.values()),
        stored_tb=round(stored / TB, 3),
        memory_gb=memory,
        limits=_limits(profile, nodes, everywhere),
    )


def rates_of(profile: Profile) -> Rates:
    messages = profile.online * profile.messages_per_user_day / DAY_S * profile.peak
    direct = messages * profile.direct_share
    large = messages * profile.large_share
    grouped = messages - direct - large
    recipients = direct + grouped * max(0.0, profile.group_size - 1)
    large_recipients = large * max(0.0, profile.large_group_size - 1)
    live = (recipients + large_recipients) * profile.online_share
    return Rates(
        messages=messages,
        direct=direct,
        grouped=grouped,
        large=large,
        recipients=recipients,
        deliveries=live * profile.devices,
        large_deliveries=large_recipients * profile.online_share * profile.devices,
        synced=recipients + large_recipients - live,
        signals=messages * profile.signals_per_message,
        connects=profile.online * profile.connects_per_user_day / DAY_S * profile.peak,
        connections=profile.online * profile.devices,
    )


def _busy_us(part: str, rates: Rates, figures: Figures) -> float:
    """Microseconds of processor time a second, all nodes of the part together."""
    return (
        rates.messages * figures.message[part]
        + rates.recipients * figures.recipient[part]
        + rates.large_deliveries * figures.large_recipient[part]
        + rates.synced * figures.synced[part]
        + rates.signals * figures.signal[part]
        + rates.connects * figures.connection[part]
        + rates.connections * figures.idle[part]
    )


def _nodes(
    profile: Profile, figures: Figures, rates: Rates, cores: Mapping[str, float]
) -> tuple[dict[str, int], dict[str, str], dict[str, float]]:
    """Numbers, what they follow from, and the memory that connections and processes take (GB)."""
    each = _connection_bytes(profile, figures)
    room = profile.node_memory_gb * GB * profile.utilisation - figures.base_bytes["access"]
    by = {
        "access": {
            "processors": math.ceil(cores["access"] / profile.utilisation),
            "memory": math.ceil(rates.connections * each / room) if room > 0 else SLOTS + 1,
        },
        "logic": {"processors": math.ceil(cores["logic"] / profile.utilisation)},
        "storage": {"processors": math.ceil(cores["storage"] / profile.utilisation)},
    }
    # Two at least: one may always be away.
    nodes = {part: max(2, *found.values()) for part, found in by.items()}
    bound_by = {part: max(found, key=lambda name: found[name]) for part, found in by.items()}
    bound_by |= {part: "one may be away" for part, number in nodes.items() if max(by[part].values()) < number}
    memory = {part: nodes[part] * figures.base_bytes[part] / GB for part in nodes}
    memory["access"] += rates.connections * each / GB
    return nodes, bound_by, {part: round(value, 2) for part, value in memory.items()}


def _connection_bytes(profile: Profile, figures: Figures) -> float:
    """The memory of an idle connection, the mean of all kinds."""
    ws, tls = profile.websocket_share, profile.tls_share
    idle = ws * figures.idle_bytes["ws"] + (1 - ws) * figures.idle_bytes["tcp"] + tls * TLS_BYTES
    return idle + profile.large_frames_share * (ws * LARGE_FRAME_WS_BYTES + tls * LARGE_FRAME_TLS_BYTES)


def _everywhere_us(rates: Rates, figures: Figures) -> dict[str, float]:
    """Microseconds a second of every access node, for what each hears though only some of it is for its users."""
    return {
        "sessions that begin and end": 2 * rates.connects * figures.session_change_us,
        "messages to large groups": rates.large * figures.broadcast_message_us,
    }


def _stored_bytes(profile: Profile, figures: Figures) -> float:
    a_day = profile.online * profile.messages_per_user_day
    copies = profile.direct_share * 2 + (1 - profile.direct_share - profile.large_share) * profile.group_size
    each = figures.message_bytes + profile.text_bytes + copies * figures.inbox_bytes
    return a_day * profile.retention_days * each


def _kafka_bytes(profile: Profile, rates: Rates, access: int) -> float:
    """A second, in and out of the brokers, without the copies between them."""
    record = profile.text_bytes + RECORD_BYTES
    once = rates.direct + rates.grouped * min(access, profile.group_size)
    everywhere = rates.large * record + 2 * rates.connects * SESSION_RECORD_BYTES
    return 2 * once * record + (1 + access) * everywhere


def _partitions(access: int) -> int:
    """Mailboxes: the number stays, so there is room for twice the nodes."""
    return max(PARTITIONS_MIN, 1 << (2 * access - 1).bit_length())


def _limits(profile: Profile, nodes: Mapping[str, int], everywhere: Mapping[str, float]) -> tuple[Limit, ...]:
    online = profile.online
    found = [
        Limit(
            "the ring",
            _scaled(online, NODES_MAX, max(nodes.values())),
            f"proven for {NODES_MAX:,} nodes of a kind; {SLOTS:,} slots are then 4 to a node",
        ),
        Limit(
            "mailboxes",
            _scaled(online, PARTITIONS_MAX, nodes["access"]),
            f"{PARTITIONS_MAX:,} partitions of one topic: one for each access node",
        ),
    ]
    found += [
        Limit(
            name,
            _scaled(online, EVERYWHERE * 1e6, used),
            f"every access node hears of all of them: {EVERYWHERE:.0%} of a core each",
        )
        for name, used in everywhere.items()
        if used > 0
    ]
    return tuple(sorted(found, key=lambda limit: limit.at_online))


def _scaled(online: int, bound: float, used: float) -> int:
    return int(online * bound / used)
