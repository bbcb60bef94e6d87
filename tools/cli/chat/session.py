"""One run of the chat: connects, chooses the screen or plain lines, and ends with a sentence."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tidings import DeviceKind
from tidings_protocol.errors import TidingsError
from tools.cli.output import notes
from tools.cli.reach import Reach, told

SEND_S = 300.0


def run_chat(place: Reach, device: str, state: Path, to: str | None, group: str | None) -> None:
    """Until the person leaves. Raises Failure."""
    try:
        asyncio.run(_chat(place, device, state, to, group))
    except KeyboardInterrupt:
        pass  # Ctrl-C is a way to leave
    except TidingsError as error:
        raise told(error) from error


async def _chat(place: Reach, device: str, state: Path, to: str | None, group: str | None) -> None:
    on_screen = sys.stdin.isatty() and sys.stdout.isatty()
    if on_screen:
        notes.print("connecting …")
    client = place.client(device, kind=DeviceKind.DESKTOP, state=state, send_timeout_s=SEND_S)
    try:
        async with client:
            if on_screen:
                from tools.cli.chat.screen import Screen

                await Screen(client, to, group).run()
            else:
                from tools.cli.chat.lines import PlainChat

                await PlainChat(client, to, group, sys.stdout).run()
    except BaseExceptionGroup as several:
        # The chat's tasks end for one reason: the session is over, or a defect.
        known, other = several.split(TidingsError)
        if other is not None or known is None:
            raise
        raise _first(known) from several


def _first(group: BaseExceptionGroup[TidingsError]) -> TidingsError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
