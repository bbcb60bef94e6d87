"""A process of a few clients that each say where they ended up: driven by one JSON line, answers by one.

Guarantees: what it tells is what the servers said. Does not know: where it should be.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec

from tidings import Client, DeviceKind, MemoryState

CONNECT_S = 30.0
MESSAGE_S = 30.0


@dataclass(frozen=True, slots=True)
class Task:
    """`tokens` by user; `ways`: a name, the codec, and the addresses to begin with."""

    tokens: dict[str, str]
    ways: dict[str, tuple[str, list[str]]]
    route: str


async def visit(task: Task) -> list[Mapping[str, Any]]:
    """For each user and way: the node that welcomed, the node that owns, whether a chat went both ways."""
    async with httpx2.AsyncClient(trust_env=False, timeout=10.0) as http:
        owners = {user: (await http.get(task.route, params={"user": user})).json()["node"] for user in task.tokens}
    users = list(task.tokens)
    pairs = list(zip(users, [*users[1:], users[0]], strict=True))
    return [await _chat(task, way, user, other, owners) for way in task.ways for user, other in pairs]


async def _chat(task: Task, way: str, user: str, other: str, owners: Mapping[str, str]) -> Mapping[str, Any]:
    codec, urls = task.ways[way]

    def client(name: str) -> Client:
        return Client(
            urls,
            token=task.tokens[name],
            device=f"visit-{way}",
            kind=DeviceKind.WEB,
            codec="json" if codec == "json" else "proto",
            state=MemoryState(),
            connect_timeout_s=CONNECT_S,
            name="visit/1",
        )

    async with client(user) as one, client(other) as two:
        text = f"{user} by {way}"
        await one.send(other, text)
        async with asyncio.timeout(MESSAGE_S):
            async for message in two.messages():
                if message.text == text:
                    await two.send(user, f"re: {text}")
                    break
        async with asyncio.timeout(MESSAGE_S):
            async for message in one.messages():
                if message.text == f"re: {text}":
                    break
        return {"way": way, "user": user, "node": one.welcome.node, "owner": owners[user]}


def main() -> int:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    found = asyncio.run(visit(task))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
