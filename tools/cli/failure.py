"""What a command tells the user when it cannot do what was asked: one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Failure(Exception):
    """A command failed for a reason the user can understand; ends it with `code` and no traceback."""

    code = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


class WrongUse(Failure):
    """The command was called in a way that cannot be right."""

    code = 2


@contextmanager
def first_failure() -> Iterator[None]:
    """Raises the first Failure of a group of them as itself; a group with anything else in it stays what it is.

    Not by `except*`: what is raised in one comes in a new group (Python below 3.11.4).
    """
    try:
        yield
    except BaseExceptionGroup as group:
        failures, others = group.split(Failure)
        if failures is None or others is not None:
            raise
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[Failure]) -> Failure:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
