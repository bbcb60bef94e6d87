"""What a person is told of messages and of what is done to them, in words. Pure."""

from __future__ import annotations

from tidings import ChangeAct, Membership, Message, MessageChanged

SETTINGS = {
    "name": "its name",
    "description": "what it is about",
    "avatar": "its picture",
    "open": "who may join",
    "channel": "who may write",
    "share_history": "what new members read",
    "shareHistory": "what new members read",
    "approval": "who is asked about joining",
    "members_add": "who may add others",
    "membersAdd": "who may add others",
    "muted": "whether it is silent",
    "slow_s": "how fast one may write",
    "slowS": "how fast one may write",
    "attributes": "its attributes",
}


def sentence(text: str) -> str:
    """With a capital letter, unless the first word is an id or the like, which would be another one then."""
    first = text.partition(" ")[0].rstrip(",:")
    return f"{text[:1].upper()}{text[1:]}" if first.isalpha() else text


def text_of(message: Message) -> str | None:
    """What a line says of a message; None: a later server tells of something that this chat does not know."""
    if message.recalled:
        return "(expired)" if message.state.recalled_by.startswith("~") else "(taken back)"
    told = message.membership
    if told is not None:
        return notice(told)
    files = [f"[{file.name or file.mime or 'a file'}, {file.size} bytes]" for file in message.media]
    if message.text or files or message.streaming:
        return " ".join(filter(None, [message.text, *files]))
    return f"({len(message.data)} bytes of {message.mime or 'application/octet-stream'})"


def notice(told: Membership) -> str | None:
    """What a change of a group is called."""
    users = ", ".join(told.users)
    match told.act:
        case "create":
            return f"{told.by} made the group {told.name}"
        case "join":
            return f"{told.by or users} joined"
        case "leave":
            return f"{told.by or users} left"
        case "add":
            return f"{told.by} added {users}"
        case "remove":
            return f"{told.by} removed {users}"
        case "role":
            return f"{users} is now {told.role.lower()}"
        case "rename":
            return f"{told.by} named the group {told.name}"
        case "large":
            return "the group is large now: no more receipts"
        case _:
            return _newer_notice(told, users)


def _newer_notice(told: Membership, users: str) -> str | None:
    match told.act:
        case "update":
            what = dict.fromkeys(SETTINGS[key] for key in told.settings if key in SETTINGS)
            return f"{told.by} changed {', '.join(what) or 'the group'}"
        case "mute":
            return f"{told.by} muted {users}"
        case "unmute":
            return f"{told.by} lets {users} write again"
        case "ban":
            return f"{told.by} banned {users}"
        case "unban":
            return f"{told.by} lifted the ban of {users}"
        case "dissolve":
            return f"{told.by} dissolved the group"
        case _:
            return None


def change_of(change: MessageChanged) -> str:
    """What was done to a message, for plain lines."""
    place = f"#{change.seq}"
    match change.act:
        case ChangeAct.EDIT | ChangeAct.FINISH:
            text = change.content.text if change.content is not None else ""
            text = text_of(change.message) or text if change.message is not None else text
            return f"{change.by} {'changed' if change.act is ChangeAct.EDIT else 'finished'} {place}: {text}"
        case ChangeAct.RECALL:
            return f"{change.by} took {place} back"
        case ChangeAct.PIN:
            return f"{change.by} pinned {place}"
        case ChangeAct.UNPIN:
            return f"{change.by} unpinned {place}"
        case ChangeAct.REACT:
            said = [f"{one.user} {one.reaction}" for one in change.added]
            said += [f"{one.user} no more {one.reaction}" for one in change.removed]
            return f"about {place}: {', '.join(said)}"
