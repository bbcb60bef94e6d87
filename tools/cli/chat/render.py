"""The model as text with styles, for the screen and for plain lines. Pure.

A fragment is (style class, text), as prompt_toolkit takes them; a row is a list of fragments. Control characters that
somebody else sent never reach the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from tidings import ConversationKind, LinkState, MessageState
from tidings_protocol.ids import hash64
from tools.cli.chat.model import ChatModel
from tools.cli.chat.talk import Line, Talk

Fragment = tuple[str, str]
Row = list[Fragment]

NAME_STYLES = 8
SIDEBAR_COLUMNS = 26
MARKS = {
    MessageState.SENDING: ("class:sending", "…"),
    MessageState.SENT: ("class:sent", "✓"),
    MessageState.DELIVERED: ("class:sent", "✓✓"),
    MessageState.READ: ("class:read", "✓✓"),
    MessageState.FAILED: ("class:failed", "✗ not sent"),
}


def safe(text: str) -> str:
    """Without anything that a terminal would obey."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def name_style(user: str) -> str:
    return f"class:name{hash64(user) % NAME_STYLES}"


def transcript(model: ChatModel, talk: Talk | None) -> list[Row]:
    """One row a line; days have rows of their own."""
    if talk is None:
        return [[("class:note", safe(line.text))] for line in model.notes] or [
            [("class:note", "/to USER begins a chat, /help lists what else there is.")]
        ]
    rows: list[Row] = []
    if talk.loaded and not talk.more_before:
        rows.append([("class:note", "the beginning")])
    elif talk.lines:
        rows.append([("class:note", "PageUp shows older messages")])
    day = ""
    unread_from = talk.new_from or (talk.read_seq + 1 if talk.unread else 0)
    for line in talk.lines:
        at = _local(line.time_ms)
        if line.sender and f"{at:%Y-%m-%d}" != day:
            day = f"{at:%Y-%m-%d}"
            rows.append([("class:day", f"── {at:%a %d %B %Y} ──")])
        if unread_from and line.seq >= unread_from and line.sender != model.me:
            rows.append([("class:unread", "── new ──")])
            unread_from = 0
        rows += _rows(model, talk, line, at)
    return rows


def _rows(model: ChatModel, talk: Talk, line: Line, at: datetime) -> Iterator[Row]:
    if not line.sender:
        yield [("class:note", f"      {safe(line.text)}")]
        return
    number = f"#{line.seq} " if line.seq else ""
    clock: Fragment = ("class:time", f"{at:%H:%M} {number}")
    if line.system and talk.kind is ConversationKind.GROUP:
        yield [clock, ("class:system", f"* {safe(line.text)}")]
        return
    own = line.sender == model.me
    head: Row = [clock, (f"{name_style(line.sender)} bold" if not own else "class:me bold", f"{line.sender} ")]
    if line.reply_to:
        head.append(("class:reply", f"↳{line.reply_to} {_quote(talk, line.reply_to)}"))
    first, *rest = safe(line.text).split("\n")
    style = "class:note" if line.message is not None and line.message.recalled else _style(model, line)
    head.append((style, first))
    rows = [head, *([(style, f"      {more}")] for more in rest)]
    rows[-1] = [*rows[-1], *_state(line)]
    if own:
        rows[-1] = [*rows[-1], *_mark(talk, line)]
    yield from rows


def _style(model: ChatModel, line: Line) -> str:
    """What mentions the person stands out."""
    message = line.message
    mentioned = message is not None and (model.me in message.mentions or message.mention_all)
    return "bold" if mentioned and line.sender != model.me else ""


def _state(line: Line) -> Row:
    """What was done to a message: still written, changed, pinned, reacted to."""
    if line.message is None or line.message.recalled:
        return []
    state = line.message.state
    row: Row = []
    if state.streaming:
        row.append(("class:typing", " ▌"))
    if state.edited_ms:
        row.append(("class:note", " (changed)"))
    if state.pinned:
        row.append(("class:note", " (pinned)"))
    for reaction in state.reactions:
        style = "class:me" if reaction.mine else "class:reply"
        row.append((style, f"  {safe(reaction.reaction)}{reaction.count if reaction.count > 1 else ''}"))
    return row


def _mark(talk: Talk, line: Line) -> Row:
    state = talk.state_of(line)
    if state is None or (state is not MessageState.FAILED and talk.kind is ConversationKind.BROADCAST):
        return []
    style, mark = MARKS[state]
    reason = f": {line.reason}; /retry tries again" if state is MessageState.FAILED else ""
    return [(style, f"  {mark}{reason}")]


def _quote(talk: Talk, seq: int) -> str:
    quoted = next((line for line in talk.lines if line.seq == seq), None)
    if quoted is None:
        return ""
    text = safe(quoted.text).replace("\n", " ")
    return f"{quoted.sender}: {text[:24]}{'…' if len(text) > 24 else ''}  "


def sidebar(model: ChatModel, now_ms: int) -> list[Row]:
    """The conversations: presence, name, what is unread."""
    return [_entry(model, talk, now_ms) for talk in model.listed()] or [[("class:note", " no chats yet")]]


def _entry(model: ChatModel, talk: Talk, now_ms: int) -> Row:
    here = "class:current " if talk.id == model.current else ""
    told = talk.preferences
    unread = f" {min(talk.unread, 999)}" if talk.unread and talk.id != model.current else ""
    if told is not None and told.marked_unread and not unread:
        unread = " *"
    if talk.mentions and unread:
        unread = f" @{unread}"
    muted = " -" if told is not None and (told.muted_until_ms < 0 or told.muted_until_ms > now_ms) else ""
    room = SIDEBAR_COLUMNS - 4 - len(unread) - len(muted)
    name = _name(model, talk)
    name = name if len(name) <= room else name[: room - 1] + "…"
    return [
        (here, " "),
        presence_mark(model, talk),
        (f"{here}{'bold' if unread else ''}", f" {name:<{room}}"),
        ("class:offline", muted),
        ("class:count", unread),
    ]


def _name(model: ChatModel, talk: Talk) -> str:
    """How a conversation is called: a direct chat as the other one is, a group by its own name."""
    name = model.name_of(talk.name) if talk.kind is ConversationKind.DIRECT else talk.name
    return safe(name).replace("\n", " ")


def presence_mark(model: ChatModel, talk: Talk) -> Fragment:
    match talk.kind:
        case ConversationKind.DIRECT:
            presence = model.online.get(model.peer(talk))
            return ("class:online", "●") if presence is not None and presence.online else ("class:offline", "○")
        case ConversationKind.BROADCAST:
            return ("class:offline", "!")
        case _:
            return ("class:offline", "#")


def title(model: ChatModel, now_ms: int) -> Row:
    talk = model.talk
    if talk is None:
        return [("class:title", " tidings ")]
    row: Row = [("class:title bold", f" {_name(model, talk)} "), ("class:title", f"{talk.id} ")]
    if talk.left:
        row.append(("class:title", " you are no member any more"))
    if talk.pinned:
        row.append(("class:title", f" {len(talk.pinned)} pinned"))
    if talk.requests:
        row.append(("class:title", f" {talk.requests} ask to join"))
    presence = model.online.get(model.peer(talk))
    if presence is not None and presence.online:
        row.append(("class:title", " online"))
    elif presence is not None and presence.last_seen_ms:
        row.append(("class:title", f" last seen {_ago(now_ms - presence.last_seen_ms)}"))
    return row


def typing(model: ChatModel, now: float) -> str:
    talk = model.talk
    users = model.typing(talk, now) if talk is not None else []
    if not users:
        return ""
    return f"{', '.join(users[:3])} {'is' if len(users) == 1 else 'are'} typing…"


def status(model: ChatModel, now: float) -> Row:
    """The connection, in words."""
    link = model.link
    match link.state:
        case LinkState.ONLINE:
            row: Row = [("class:online", " ● "), ("", f"online at {link.node}" if link.node else "online")]
        case LinkState.WAITING:
            left = max(0.0, link.retry_in_s - (now - model.link_since))
            row = [("class:failed", " ○ "), ("", f"reconnecting in {left:.0f} s ({safe(link.detail)})")]
        case LinkState.CONNECTING:
            row = [("class:sending", " ◌ "), ("", f"connecting to {link.detail}")]
        case _:
            row = [("class:failed", " ○ "), ("", f"closed {safe(link.detail)}")]
    return [*row, ("", f"  ·  {model.me}")]


def plain(model: ChatModel, talk: Talk, line: Line) -> str:
    """A line without a screen: [12:30:01] sender: text."""
    text = safe(line.text).replace("\n", "\n    ")
    if not line.sender:
        return f"* {text}"
    where = "" if talk.id == model.current else f" ({talk.id})"
    mark = "*" if line.system and talk.kind is ConversationKind.GROUP else f"{line.sender}:"
    number = f" #{line.seq}" if line.seq else ""
    reply = f"(to #{line.reply_to}) " if line.reply_to else ""
    return f"[{_local(line.time_ms):%H:%M:%S}]{where}{number} {mark} {reply}{text}"


def _local(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()


def _ago(milliseconds: int) -> str:
    minutes = max(0, milliseconds) // 60_000
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"
