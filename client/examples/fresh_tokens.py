"""Tokens that run out: the library asks for another when the server refuses the last one.

    python fresh_tokens.py ws://127.0.0.1:8000 ann

The function below runs `tidings token`; yours would ask your login service. It may be async or not.
"""

from __future__ import annotations

import asyncio
import sys

from tidings import Client, Link, LinkState


async def fresh_token(user: str) -> str:
    signing = await asyncio.create_subprocess_exec(
        "tidings", "token", user, "--ttl", "60", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await signing.communicate()
    return out.decode().strip()


async def main(url: str, user: str) -> None:
    async with Client(url, token=lambda: fresh_token(user)) as client:
        async for event in client.events():
            if isinstance(event, Link):
                print(event.state, event.node, event.detail, flush=True)
                if event.state is LinkState.CLOSED:
                    break


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
