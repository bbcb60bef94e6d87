"""Who talks to whom in a run: users, their devices and how each connects, direct chats, groups. A value from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tests.support.histories.record import Member
from tidings_protocol.ids import direct

Way = Literal["proto", "json", "tcp"]
WAYS: tuple[Way, ...] = ("proto", "json", "tcp")

# Groups above this are read by cursor in a stack of these tests, so that one fits into a small run.
LARGE_ABOVE = 12
SMALL = 5

DIRECT, SMALL_GROUP, LARGE_GROUP = 0.55, 0.40, 0.05  # shares of what is sent


@dataclass(frozen=True, slots=True)
class Device:
    """`restless`: its application is closed and opened again now and then."""

    user: str
    name: str
    way: Way
    mobile: bool
    restless: bool


@dataclass(frozen=True, slots=True)
class Population:
    users: tuple[str, ...]
    devices: tuple[Device, ...]
    pairs: tuple[tuple[str, str], ...]
    small: Mapping[str, tuple[str, ...]]  # the group's name -> members, the first makes it
    large: Mapping[str, tuple[str, ...]]
    newcomers: Mapping[str, tuple[str, ...]]  # the group's name -> who is added by the first one while all talk

    def devices_of(self, user: str) -> tuple[str, ...]:
        return tuple(device.name for device in self.devices if device.user == user)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        return {**self.small, **self.large}

    def members(self, group_ids: Mapping[str, str]) -> list[Member]:
        """Everyone's conversations, once the groups have their ids."""
        chats = {direct(*pair): pair for pair in self.pairs}
        groups = {group_ids[name]: members for name, members in self.groups.items()}
        return [
            Member(conversation, user, self.devices_of(user))
            for conversation, users in {**chats, **groups}.items()
            for user in users
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Population:
        return cls(
            users=tuple(told["users"]),
            devices=tuple(Device(**device) for device in told["devices"]),
            pairs=tuple((one, other) for one, other in told["pairs"]),
            small={name: tuple(users) for name, users in told["small"].items()},
            large={name: tuple(users) for name, users in told["large"].items()},
            newcomers={name: tuple(users) for name, users in told["newcomers"].items()},
        )


def populate(people: Sequence[str], seed: int) -> Population:
    """Makes conversations of these users, whose names must be unlike those of any other run on the same cluster."""
    users = len(people)
    if users <= LARGE_ABOVE:
        raise ValueError(f"{users} users make no large group: it needs more than {LARGE_ABOVE}")
    rng = random.Random(seed)
    devices: list[Device] = []
    for number, user in enumerate(people):
        devices.append(Device(user, "phone", WAYS[number % 3], mobile=True, restless=number % 6 == 5))
        if number % 2 == 0:
            devices.append(Device(user, "web", WAYS[(number // 2) % 3], mobile=False, restless=number % 8 == 0))
    pairs = {tuple(sorted(rng.sample(people, 2))) for _ in range(2 * users)}
    small = {f"small {number}": tuple(rng.sample(people, SMALL)) for number in range(users // 4)}
    few, many = rng.sample(people, users), rng.sample(people, users)
    return Population(
        users=tuple(people),
        devices=tuple(devices),
        pairs=tuple(sorted((one, other) for one, other in pairs)),
        small={**small, "growing": tuple(few[:2])},
        large={"large": tuple(people), "growing large": tuple(many[: LARGE_ABOVE + 1])},
        newcomers={"growing": tuple(few[2:10]), "growing large": tuple(many[LARGE_ABOVE + 1 :])},
    )
