"""The loop of a reader: what comes, one at a time, until there is nothing more to come.

Guarantees: messages, changes of them and notices in the order of core/messages/notices.py; the hands are told of each
message and change when its reader gets it, is done with it, or leaves its loop (hands.py). It ends when the client is
closed, and raises what ended the session when the server did.

Does not know: whether the device is connected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from tidings.errors import ClientClosed
from tidings.model import Event, MessageChanged
from tidings.shell.opened import Opened


async def read(opened: Callable[[], Opened], *, notices: bool) -> AsyncIterator[Event]:
    """Messages as they come; with `notices`, their changes and whatever else happens as well.

    `opened` is asked for the client when the first event is.
    """
    client = opened()
    while True:
        client.hands.asked()
        notice = client.engine.take_notice() if notices else None
        if notice is not None:
            yield notice
        elif (handed := client.engine.take()) is not None:
            if not notices and isinstance(handed.event, MessageChanged):
                client.engine.took(handed)
                continue
            client.hands.give(handed)
            try:
                yield handed.event
            except GeneratorExit:
                client.hands.left(handed)
                raise
            client.hands.done(handed)
        elif client.device.over is None:
            await client.engine.changed()
        elif isinstance(client.device.over, ClientClosed):
            return
        else:
            raise client.device.over
