"""Send one message and read the answer.

    python hello.py ws://127.0.0.1:8000 "$(tidings token ann)" bob "hi Bob"

`tidings token USER` signs a token for a local cluster; in a product, your login service does.
"""

from __future__ import annotations

import asyncio
import sys

from tidings import Client


async def main(url: str, token: str, to: str, text: str) -> None:
    async with Client(url, token=token) as client:
        sent = await client.send(to, text)
        print(f"stored as number {sent.seq} of {sent.conversation}")

        async for message in client.messages():
            if message.conversation == sent.conversation:
                print(f"{message.sender}: {message.text}")
                break


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
