"""Waiting for a moment of the monotonic clock, to some 50 µs. The timers of event loops know milliseconds only.

Linux has timerfd for it (`os.timerfd_create` comes with Python 3.13, so it is called by ctypes); elsewhere the loop's
own timer does, and the milliseconds count as latency.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import modf

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1
_COUNT_BYTES = 8


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Pacer:
    """`until` waits for a moment; one waits at a time."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._waiter: asyncio.Future[None] | None = None

    async def until(self, due: float) -> None:
        if self._descriptor is None:
            await asyncio.sleep(due - time.monotonic())
            return
        part, whole = modf(due)
        timer = _Timer(_Timespec(0, 0), _Timespec(int(whole), max(1, int(part * 1e9))))
        if _libc().timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(timer), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def fire(self) -> None:
        """What the event loop calls."""
        assert self._descriptor is not None
        with suppress(BlockingIOError):
            os.read(self._descriptor, _COUNT_BYTES)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)


@contextmanager
def pacer() -> Iterator[Pacer]:
    """Within a running event loop."""
    if sys.platform != "linux":
        yield Pacer(None)
        return
    descriptor = _libc().timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    loop = asyncio.get_running_loop()
    made = Pacer(descriptor)
    loop.add_reader(descriptor, made.fire)
    try:
        yield made
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
