"""What is open exactly while its lanes are: it enters them in order, and leaves them in the opposite one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import pytest

from services.common.lanes.entered import LaneHolder


class Part:
    """Notes when it is entered and left."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name, self.log, self.fails = name, log, fails

    async def __aenter__(self) -> Self:
        if self.fails:
            raise OSError("as asked")
        self.log.append(f"+{self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.log.append(f"-{self.name}" + (f" {kind.__name__}" if kind else ""))


class Holder(LaneHolder):
    def __init__(self, *parts: Part) -> None:
        self.parts = parts

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return self.parts


async def test_parts_are_left_in_the_opposite_order() -> None:
    log: list[str] = []
    holder = Holder(Part("a", log), Part("b", log))
    async with holder as entered:
        assert entered is holder
        assert log == ["+a", "+b"]
    assert log == ["+a", "+b", "-b", "-a"]


async def test_parts_learn_of_the_error_that_leaves_them_and_do_not_swallow_it() -> None:
    log: list[str] = []
    with pytest.raises(KeyError):
        async with Holder(Part("a", log)):
            raise KeyError("a defect")
    assert log == ["+a", "-a KeyError"]


async def test_if_one_cannot_be_entered_those_before_it_are_left() -> None:
    log: list[str] = []
    with pytest.raises(OSError, match="as asked"):
        async with Holder(Part("a", log), Part("b", log, fails=True)):
            pass
    assert log == ["+a", "-a OSError"]
