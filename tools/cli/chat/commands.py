"""What a person may type: text, or a command that begins with a slash. Pure.

Guarantees: every command of the table is known to `parse` and shown by /help; what is wrong is said in one sentence
with the right usage. A text that begins with a slash is sent by doubling it: //like this.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

MANY = 500


@dataclass(frozen=True, slots=True)
class Spec:
    """`least` and `most`: how many words may follow; `text`: the last of them is all the rest of the line."""

    name: str
    usage: str
    about: str
    least: int = 0
    most: int = 0
    text: bool = False


SPECS = (
    Spec("help", "/help", "this list"),
    Spec("to", "/to USER", "chat with a user", 1, 1),
    Spec("open", "/open NUMBER|NAME|g:ID", "go to a conversation of the list", 1, 1, text=True),
    Spec("list", "/list", "your conversations, with what is unread"),
    Spec("next", "/next", "to the next conversation with unread messages"),
    Spec("create", "/create NAME [USER …]", "make a group", 1, MANY),
    Spec("join", "/join g:ID", "join an open group", 1, 1),
    Spec("leave", "/leave", "leave this group"),
    Spec("add", "/add USER …", "add to this group", 1, MANY),
    Spec("remove", "/remove USER …", "take out of this group", 1, MANY),
    Spec("members", "/members", "who is in this group"),
    Spec("role", "/role USER member|admin|owner", "give a role in this group", 2, 2),
    Spec("rename", "/rename NAME", "give this group another name", 1, 1, text=True),
    Spec("info", "/info", "about this conversation"),
    Spec("older", "/older [COUNT]", "show older messages (PageUp does too)", 0, 1),
    Spec("reply", "/reply SEQ TEXT", "answer the message with this number", 2, 2, text=True),
    Spec("retry", "/retry", "send again what failed"),
    Spec("who", "/who USER …", "who is online", 1, 100),
    Spec("quit", "/quit", "leave (Ctrl-D does too)"),
)
BY_NAME = {spec.name: spec for spec in SPECS}


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a line cannot be done."""

    reason: str


def parse(line: str) -> Say | Command | Wrong | None:
    """None: nothing was said."""
    stripped = line.strip()
    if not stripped:
        return None
    if stripped.startswith("//"):
        return Say(stripped[1:])
    if not stripped.startswith("/"):
        return Say(line.rstrip())
    name, _, rest = stripped[1:].partition(" ")
    spec = BY_NAME.get(name.lower())
    if spec is None:
        near = difflib.get_close_matches(name.lower(), BY_NAME, n=1)
        hint = f"did you mean /{near[0]}?" if near else "/help lists what there is."
        return Wrong(f"There is no command /{name}; {hint}")
    words = tuple(rest.split(maxsplit=spec.most - 1) if spec.text and spec.most else rest.split())
    if not spec.least <= len(words) <= spec.most:
        return Wrong(f"It is {spec.usage}: {spec.about}.")
    return Command(spec.name, words)


def help_lines() -> list[str]:
    width = max(len(spec.usage) for spec in SPECS)
    return [f"{spec.usage:<{width}}  {spec.about}" for spec in SPECS]


def completions(text: str, users: list[str]) -> list[str]:
    """What the last word of a line may become: commands, then names."""
    if text.startswith("/") and " " not in text:
        return [f"/{spec.name}" for spec in SPECS if spec.name.startswith(text[1:].lower())]
    if text.startswith("/"):
        word = text.rpartition(" ")[2]
        return [user for user in users if user.startswith(word)]
    return []
