"""A bot that answers every message with the same text, and goes on where it stopped when it is started again.

    python echo_bot.py ws://127.0.0.1:8000 "$(tidings token echo)" echo-bot.json

What arrived while it was down is answered when it is back; nothing is answered twice. The answer's client id follows
from the message, so even a crash between sending and remembering cannot store it twice.
"""

from __future__ import annotations

import asyncio
import sys

from tidings import Client, TidingsError


async def main(url: str, token: str, state: str) -> None:
    async with Client(url, token=token, state=state) as client:
        print(f"{client.user} listens", flush=True)
        async for message in client.messages():
            if message.sender == client.user or not message.text:
                continue
            try:
                await client.send(
                    message.conversation, message.text, reply_to=message.seq, client_id=f"echo-{message.id}"
                )
            except TidingsError as error:
                print(f"no answer to {message.id}: {error}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
