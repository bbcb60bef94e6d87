"""What a run shall do, and its share for each process. Pure values; checked when made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

USERS_MAX = 400_000
OF_A_PROCESS_MAX = 19_000  # connections: systems allow 20,000 open files without being asked
SIZE_MIN_BYTES = 48  # a text carries its sender and its number
WINDOW_MAX = 200
PAIRED = ("direct", "signals")
GROUPED = ("group", "sync", "history", "mixed")
CROWD = "crowd"
LOOPED = ("direct", "signals", "group")


@dataclass(frozen=True, slots=True)
class Plan:
    """Raises ValueError with a sentence. `rate` None: closed loop. `seconds` 0: until all is done."""

    workload: str
    users: int
    window: int
    seconds: float
    rate: float | None
    warmup_s: float
    size_bytes: int
    processes: int
    transport: str
    json_clients: float = 0.0  # the share of users that speak JSON
    members: int = 0  # of a group
    senders: int = 0  # of a group
    messages: int = 0  # that each user has missed, or that a conversation has
    page: int = 0  # entries
    mix: Mapping[str, float] = field(default_factory=dict)  # shares and rates of `mixed`

    def __post_init__(self) -> None:
        for holds, rule in (*self._common(), *self._own()):
            if not holds:
                raise ValueError(rule)

    @property
    def unit(self) -> int:
        """Users that belong together, in one process."""
        if self.workload in GROUPED:
            return self.members
        return 2 if self.workload in PAIRED else 1

    def _common(self) -> tuple[tuple[bool, str], ...]:
        return (
            (1 <= self.users <= USERS_MAX, f"--users is 1 to {USERS_MAX}"),
            (self.workload == "connect" or self.window <= WINDOW_MAX, f"--window is 1 to {WINDOW_MAX}"),
            (self.window >= 1, f"--window is 1 to {WINDOW_MAX}"),
            (self.seconds >= 0, "--seconds is more than 0"),
            (self.workload not in LOOPED or self.seconds > 0, "--seconds is more than 0"),
            (self.rate is None or self.rate > 0, "--rate is more than 0"),
            (self.warmup_s >= 0, "--warmup is 0 or more"),
            (SIZE_MIN_BYTES <= self.size_bytes <= 32_000, f"--size is {SIZE_MIN_BYTES} to 32000 bytes"),
            (self.transport in ("ws", "tcp"), "--transport is ws or tcp"),
            (0 <= self.json_clients <= 1, "--json-clients is a share from 0 to 1"),
            (self.transport == "ws" or not self.json_clients, "--json-clients needs --transport ws"),
        )

    def _own(self) -> tuple[tuple[bool, str], ...]:
        unit = max(self.unit, 1)
        shape = "half of the users" if unit == 2 else f"the number of users by {unit}"
        fits = -(-self.users // max(1, self.processes)) <= OF_A_PROCESS_MAX
        paired = self.workload not in PAIRED or self.users % 2 == 0
        grouped = self.workload not in GROUPED
        return (
            (paired, f"--users is an even number from 2 to {USERS_MAX}"),
            (grouped or 2 <= self.members <= self.users, "--members is 2 or more"),
            (grouped or self.users % unit == 0, "--users is a multiple of --members"),
            (1 <= self.processes <= self.users // unit, f"--processes is 1 to {shape}"),
            (fits, f"--processes is so many that none holds more than {OF_A_PROCESS_MAX} connections"),
            (self.workload != "group" or 1 <= self.senders <= self.members, "--senders is 1 to --members"),
            (self.workload not in ("sync", "history") or 1 <= self.page <= 500, "--page is 1 to 500"),
            (self.workload not in ("sync", "history") or self.messages >= 1, "there must be a message to read"),
            (self.workload != CROWD or self.rate is not None, "a crowd has a rate"),
            (self.workload != CROWD or self.users >= 2 * self.processes, "--connections is 2 or more"),
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does: its users, and its part of the rate.

    `tokens` by user. Users of a unit are neighbours: in pairs, users 0 and 1 write to each other, 2 and 3, and so on.
    `source` is the address that its connections come from; None: as the system gives. `homes`: where in `urls` each
    user belongs; empty: anywhere.
    """

    plan: Plan
    urls: list[str]
    tokens: list[tuple[str, str]]
    rate: float | None
    source: str | None = None
    homes: list[int] = field(default_factory=list)


def shares(plan: Plan, urls: list[str], tokens: list[tuple[str, str]], homes: Sequence[int] = ()) -> list[Share]:
    """Shares for the processes, as even as the units allow; with `homes` a unit is one user."""
    unit = max(plan.unit, 1)
    units = [tokens[index : index + unit] for index in range(0, len(tokens), unit)]
    parts = [units[number :: plan.processes] for number in range(plan.processes)]
    return [
        Share(
            plan,
            urls,
            [user for each in part for user in each],
            None if plan.rate is None else plan.rate * len(part) / len(units),
            _source(urls, number) if plan.processes > 1 else None,
            [*homes[number :: plan.processes]],
        )
        for number, part in enumerate(parts)
    ]


def _source(urls: list[str], number: int) -> str | None:
    """Each process has a loopback address of its own, so that there are ports enough."""
    local = all(url.partition("://")[2].startswith("127.") for url in urls)
    return f"127.0.0.{number + 2}" if local and number < 250 else None
