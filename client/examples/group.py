"""Make a group, write into it, and follow what becomes of the message: sent, delivered, read.

python group.py ws://127.0.0.1:8000 "$(tidings token ann)" bob cleo
"""

from __future__ import annotations

import asyncio
import sys

from tidings import Client, MessageState, Progress


async def main(url: str, token: str, *members: str) -> None:
    async with Client(url, token=token) as client:
        group = await client.create_group("lunch", members)
        print(f"{group.name} is {group.id}, with {group.member_count} members")

        outgoing = client.post(group.id, "Pizza at noon?")
        async for event in client.events():
            if isinstance(event, Progress) and event.client_id == outgoing.client_id:
                print(event.state)
                if event.state in (MessageState.READ, MessageState.FAILED):
                    break

        page = await client.history(group.id)
        print(f"{len(page.messages)} messages so far")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
