"""What a person may type: text, or a command that begins with a slash. Pure.

A message is named by the number beside it (#7 or 7), or by . for the newest.

Guarantees: every command of the table is known to `parse` and shown by /help; what is wrong is said in one sentence
with the right usage. A text that begins with a slash is sent by doubling it: //like this.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tools.cli.chat.mentions import suggested

MANY = 500
# What of a group can be set, and what kind of value it has.
SETTINGS = {
    "description": str,
    "avatar": str,
    "open": bool,
    "channel": bool,
    "share": bool,
    "approval": bool,
    "adding": bool,
    "silent": bool,
    "slow": int,
}


@dataclass(frozen=True, slots=True)
class Spec:
    """`least` and `most`: how many words may follow; `text`: the last of them is all the rest of the line."""

    name: str
    usage: str
    about: str
    least: int = 0
    most: int = 0
    text: bool = False


def _settings() -> str:
    """What can be set, and to what."""
    values = {str: "TEXT", bool: "on|off", int: "SECONDS"}
    kinds = dict.fromkeys(SETTINGS.values())
    return "; ".join(f"{', '.join(w for w, k in SETTINGS.items() if k is kind)} {values[kind]}" for kind in kinds)


SPECS = (
    Spec("help", "/help", "this list"),
    Spec("to", "/to USER", "chat with a user", 1, 1),
    Spec("open", "/open NUMBER|NAME|g:ID", "go to a conversation of the list", 1, 1, text=True),
    Spec("list", "/list", "your conversations, with what is unread"),
    Spec("next", "/next", "to the next conversation with unread messages"),
    Spec("info", "/info", "about this conversation"),
    Spec("older", "/older [COUNT]", "show older messages (PageUp does too)", 0, 1),
    Spec("reply", "/reply SEQ TEXT", "answer the message with this number; . is the newest", 2, 2, text=True),
    Spec("edit", "/edit SEQ TEXT", "write an own message anew; . is your newest", 2, 2, text=True),
    Spec("recall", "/recall SEQ", "take a message back, for everybody", 1, 1),
    Spec("react", "/react SEQ SIGN", "react to a message, with 👍 or the like", 2, 2),
    Spec("unreact", "/unreact SEQ SIGN", "take your reaction back", 2, 2),
    Spec("reactions", "/reactions SEQ", "who reacted with what", 1, 1),
    Spec("pin", "/pin SEQ", "pin a message, for everybody", 1, 1),
    Spec("unpin", "/unpin SEQ", "pin it no longer", 1, 1),
    Spec("pinned", "/pinned", "what is pinned here"),
    Spec("readers", "/readers SEQ", "who of this group has read a message", 1, 1),
    Spec("hide", "/hide SEQ|all", "see a message (or all so far) no more, on all your devices", 1, 1),
    Spec("retry", "/retry", "send again what failed"),
    Spec("mute", "/mute [HOURS|off]", "no notifications of this conversation, on all your devices", 0, 1),
    Spec("top", "/top [off]", "keep this conversation at the top of the list", 0, 1),
    Spec("archive", "/archive [off]", "keep it at the end of the list", 0, 1),
    Spec("block", "/block USER …", "take no more messages from these", 1, 100),
    Spec("unblock", "/unblock USER …", "take their messages again", 1, 100),
    Spec("blocked", "/blocked", "whose messages you do not take"),
    Spec("who", "/who USER …", "who is online, and how they are called", 1, 100),
    Spec("name", "/name NAME", "how others see you called", 1, 1, text=True),
    Spec("create", "/create NAME [USER …]", "make a group", 1, MANY),
    Spec("join", "/join g:ID [INVITE]", "join an open group, or any with an invite", 1, 2),
    Spec("ask", "/ask g:ID [TEXT]", "ask to be taken into a group where joining needs approval", 1, 2, text=True),
    Spec("leave", "/leave", "leave this group"),
    Spec("add", "/add USER …", "add to this group", 1, MANY),
    Spec("remove", "/remove USER …", "take out of this group", 1, MANY),
    Spec("members", "/members", "who is in this group"),
    Spec("role", "/role USER member|admin|owner", "give a role in this group", 2, 2),
    Spec("rename", "/rename NAME", "give this group another name", 1, 1, text=True),
    Spec("set", "/set WHAT VALUE", f"set this group: {_settings()}", 2, 2, text=True),
    Spec("silence", "/silence USER [MINUTES|off]", "a member may not write here (until you say off)", 1, 2),
    Spec("ban", "/ban USER …", "put out of this group, and let not back in", 1, MANY),
    Spec("unban", "/unban USER …", "let these come back", 1, MANY),
    Spec("banned", "/banned", "who may not come back"),
    Spec("invite", "/invite [HOURS [USES]]", "make an invite to this group", 0, 2),
    Spec("invites", "/invites", "the invites to this group"),
    Spec("uninvite", "/uninvite [INVITE]", "take an invite back, or all", 0, 1),
    Spec("requests", "/requests", "who asks to be taken in"),
    Spec("accept", "/accept USER …", "take in who asked", 1, MANY),
    Spec("decline", "/decline USER …", "leave out who asked", 1, MANY),
    Spec("dissolve", "/dissolve NAME", "end this group for everybody; type its name", 1, 1, text=True),
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


# What is no command, and how a message is named.
HINTS = (
    ("@USER, @all", "in a text: mentions a user, or everybody in a group; Tab completes ids and names"),
    ("//TEXT", "a text that begins with a slash"),
    ("SEQ", "the number beside a message, with or without #; . is the newest"),
)


def help_lines() -> list[str]:
    said = [*((spec.usage, spec.about) for spec in SPECS), *HINTS]
    width = max(len(usage) for usage, _ in said)
    return [f"{usage:<{width}}  {about}" for usage, about in said]


def completions(
    text: str, users: list[str], people: Collection[str] = (), names: Mapping[str, str] | None = None
) -> list[str]:
    """What the last word of a line may become: commands, then users, then those who may be mentioned here.

    `names`: how users are called; a mention is found by these too.
    """
    last = text.rpartition(" ")[2]
    if last.startswith("@"):
        return suggested(last, people, names or {})
    if text.startswith("/") and " " not in text:
        return [f"/{spec.name}" for spec in SPECS if spec.name.startswith(text[1:].lower())]
    if text.startswith("/"):
        return [user for user in users if user.startswith(last)]
    return []
