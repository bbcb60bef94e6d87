"""Whom a text mentions: `@name`, and `@all` for everybody. Pure.

Guarantees: only people who are there are mentioned; what else begins with `@` is text. Behind a name may stand any
sign that no name ends with, and a dot or colon that belongs to the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

MENTIONS_MAX = 50
ALL = "all"

_words = re.compile(r"(?<![A-Za-z0-9._\-@:])@([A-Za-z0-9._\-@:]{1,64})").findall


def mentioned(text: str, people: Collection[str]) -> tuple[tuple[str, ...], bool]:
    """The users who are mentioned, in order, and whether everybody is."""
    users: dict[str, None] = {}
    everybody = False
    for word in _words(text):
        while word and word not in people and word != ALL and not word[-1].isalnum():
            word = word[:-1]  # the sentence's own dot
        if word in people:
            users[word] = None
        elif word == ALL:
            everybody = True
    return tuple(users)[:MENTIONS_MAX], everybody


def suggested(word: str, people: Collection[str], names: Mapping[str, str]) -> list[str]:
    """What `@…` may become: those whose id, or whose name, or a word of it, begins so."""
    begin = word[1:].casefold()
    fits = [user for user in people if user.casefold().startswith(begin) or _named(names.get(user, ""), begin)]
    return [f"@{user}" for user in sorted(fits)] + ([f"@{ALL}"] if ALL.startswith(begin) and people else [])


def _named(name: str, begin: str) -> bool:
    folded = name.casefold()
    return bool(begin) and any(part.startswith(begin) for part in [folded, *folded.split()])
