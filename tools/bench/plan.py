"""What a run shall do, and its share for each process. Pure values; checked when made."""

from __future__ import annotations

from dataclasses import dataclass

USERS_MAX = 20_000
SIZE_MIN_BYTES = 48  # a text carries its number and its time


@dataclass(frozen=True, slots=True)
class Plan:
    """Raises ValueError with a sentence. `rate` None: closed loop."""

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

    def __post_init__(self) -> None:
        checks = (
            (2 <= self.users <= USERS_MAX and self.users % 2 == 0, f"--users is an even number from 2 to {USERS_MAX}"),
            (1 <= self.window <= 200, "--window is 1 to 200"),
            (self.seconds > 0, "--seconds is more than 0"),
            (self.rate is None or self.rate > 0, "--rate is more than 0"),
            (self.warmup_s >= 0, "--warmup is 0 or more"),
            (SIZE_MIN_BYTES <= self.size_bytes <= 32_000, f"--size is {SIZE_MIN_BYTES} to 32000 bytes"),
            (1 <= self.processes <= self.users // 2, "--processes is 1 to half of the users"),
            (self.transport in ("ws", "tcp"), "--transport is ws or tcp"),
            (0 <= self.json_clients <= 1, "--json-clients is a share from 0 to 1"),
            (self.transport == "ws" or not self.json_clients, "--json-clients needs --transport ws"),
        )
        for holds, rule in checks:
            if not holds:
                raise ValueError(rule)


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does: its pairs of users, and its part of the rate.

    `tokens` by user, in pairs: users 0 and 1 write to each other, 2 and 3, and so on.
    """

    plan: Plan
    urls: list[str]
    tokens: list[tuple[str, str]]
    rate: float | None


def shares(plan: Plan, urls: list[str], tokens: list[tuple[str, str]]) -> list[Share]:
    """As even as pairs allow."""
    pairs = [tokens[index : index + 2] for index in range(0, len(tokens), 2)]
    parts = [pairs[number :: plan.processes] for number in range(plan.processes)]
    return [
        Share(
            plan,
            urls,
            [user for pair in part for user in pair],
            None if plan.rate is None else plan.rate * len(part) / len(pairs),
        )
        for part in parts
    ]
