"""What a command tells the user when it cannot do what was asked: one sentence, and what to do about it."""

from __future__ import annotations


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
