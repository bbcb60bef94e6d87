"""A bot whose answers are read while they are written, as those of a language model.

    python stream_bot.py ws://127.0.0.1:8000 "$(tidings token bot)"

`answer` below makes words out of the question; yours would ask a model. What is lost of the pieces on the way, the end
of the message brings: whoever reads it later reads the whole.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from tidings import Client, Message, TidingsError


async def answer(question: str) -> AsyncIterator[str]:
    """The words of an answer, as they come to mind."""
    for word in f"You ask: {question} I have to think about that.".split():
        await asyncio.sleep(0.02)
        yield word + " "


async def reply(client: Client, message: Message) -> None:
    try:
        async with client.stream(message.conversation, reply_to=message.seq, client_id=f"re-{message.id}") as stream:
            async for words in answer(message.text):
                await stream.write(words)
    except TidingsError as error:
        print(f"no answer to {message.id}: {error}", flush=True)


async def main(url: str, token: str) -> None:
    async with Client(url, token=token) as client:
        print(f"{client.user} listens", flush=True)
        async for message in client.messages():
            if message.sender != client.user and message.text:
                await reply(client, message)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
