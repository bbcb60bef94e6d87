"""Between the person and the client: does what is typed, and brings what comes into the model.

Guarantees: nothing that the server refuses ends the chat; it becomes a note of one sentence. What is on the screen of
an attentive person is told as read, at most once a second.

Does not know: the screen; it calls `changed` when there may be something new to draw, `shown` with new lines, and
`told` with everything that came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tidings import (
    Client,
    ConversationKind,
    Event,
    Group,
    LinkState,
    Message,
    MessageState,
    NotKept,
    ProfileChanged,
    Restarted,
    Role,
)
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import check_user
from tools.cli.chat.commands import Command, Say, Wrong, help_lines, parse
from tools.cli.chat.doing.groups import GroupCommands
from tools.cli.chat.doing.messages import MessageCommands
from tools.cli.chat.doing.people import PeopleCommands
from tools.cli.chat.doing.standing import now_ms
from tools.cli.chat.mentions import mentioned
from tools.cli.chat.model import ChatModel
from tools.cli.chat.talk import Line, Talk
from tools.cli.chat.telling import sentence

HISTORY_PAGE = 50
TYPING_EVERY_S = 3.0
ATTEND_EVERY_S = 1.0
WATCHED_MAX = 100
PEOPLE_MAX = 200
CALLED_MAX = 500  # the server lets no more be watched


class Quit(Exception):  # not an error: the person leaves
    """The person wants to leave."""


class Controller(MessageCommands, PeopleCommands, GroupCommands):
    def __init__(
        self,
        client: Client,
        model: ChatModel,
        *,
        changed: Callable[[], None],
        shown: Callable[[Talk, Line], None] = lambda _talk, _line: None,
        told: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        self._client = client
        self._model = model
        self._changed = changed
        self._shown = shown
        self._told = told
        self._typed_at = -TYPING_EVERY_S
        self._attend = asyncio.Event()
        self._watched: set[str] = set()
        self._asked: set[str] = set()
        self._called: set[str] = set()  # whose profiles are watched
        self._joined: set[str] = set()  # groups whose members are known
        self._loading: set[str] = set()
        self._last_reason = ""

    async def begin(self, to: str | None, group: str | None) -> None:
        """Read the conversations, and open the one that was asked for, or the newest."""
        self._model.listing(await self._client.conversations(limit=200))
        if to is not None:
            talk = self._model.chat_with(to)
        elif group is not None:
            talk = self._model.open(group, name=(await self._client.group(group)).name)
        elif listed := self._model.listed():
            talk = self._model.open(listed[0].id)
        else:
            self._changed()
            return
        await self._enter(talk)
        await self._watch()

    async def follow(self) -> None:
        """Bring in what comes, as long as the session lasts. Raises SessionEnded."""
        async for event in self._client.events():
            if isinstance(event, Group) and event.role is Role.NONE:
                self._gone(event)
                continue
            line = self._model.apply(event, time.monotonic())
            self._told(event)
            if line is not None and isinstance(event, Message):
                self._shown(self._model.talks[event.conversation], line)
                self._attend.set()
            if isinstance(event, Restarted) and not event.first:
                await self._try(self._reload())
            if isinstance(event, NotKept):
                self._note_once(event.reason)
            self._changed()

    async def attend(self) -> None:
        """What follows from new messages, now and then: what was read is told, new people and groups are looked up."""
        while True:
            await self._attend.wait()
            self._attend.clear()
            await self._try(self._mark_read())
            await self._try(self._name_groups())
            await self._try(self._watch())
            await self._try(self._know_people())
            self._changed()
            await asyncio.sleep(ATTEND_EVERY_S)

    async def typing(self, text: str) -> None:
        """The person types: the others are told, now and then."""
        talk = self._model.talk
        now = time.monotonic()
        if talk is None or talk.large or talk.kind is ConversationKind.BROADCAST or text.startswith("/") or not text:
            return
        if now - self._typed_at >= TYPING_EVERY_S:
            self._typed_at = now
            await self._try(self._client.typing(talk.id))

    def say(self, text: str) -> bool:
        """Send a line if it is a text: at once, whatever a command before it waits for. False: it is a command."""
        meant = parse(text)
        if not isinstance(meant, Say):
            return False
        try:
            self._say(meant.text)
        except TidingsError as error:
            self._tell(error)
        self._changed()
        return True

    async def enter(self, text: str) -> None:
        """Do what a line says. Raises Quit."""
        if self.say(text):
            return
        match parse(text):
            case None | Say():
                return
            case Wrong(reason):
                self._note(reason)
            case Command("quit"):
                raise Quit
            case Command(name, words):
                await self._try(self._do(name, words))
        self._changed()

    async def older(self, count: int = HISTORY_PAGE) -> None:
        """Load what is before the oldest line."""
        talk = self._model.talk
        if talk is None or not talk.more_before or talk.id in self._loading:
            return
        await self._try(self._load(talk, before=talk.oldest or None, count=count))
        self._changed()

    async def go(self, step: int) -> None:
        """Goes to the next or the previous conversation of the list."""
        listed = self._model.listed()
        if listed:
            here = next((index for index, talk in enumerate(listed) if talk.id == self._model.current), 0)
            await self._try(self._enter(listed[(here + step) % len(listed)]))
            self._changed()

    # What is said and done

    def _say(self, text: str, reply_to: int = 0) -> None:
        talk = self._here()
        users, everybody = mentioned(text, talk.people)
        everybody = everybody and talk.kind is ConversationKind.GROUP
        outgoing = self._client.post(talk.id, text, reply_to=reply_to, mentions=users, mention_all=everybody)
        self._typed_at = -TYPING_EVERY_S
        line = self._model.posted(talk.id, outgoing.client_id, text, reply_to, now_ms(), users)
        self._shown(talk, line)

    async def _do(self, name: str, words: tuple[str, ...]) -> None:
        action: Callable[..., Awaitable[None]] = getattr(self, f"_on_{name}")
        await action(*words)

    async def _on_help(self) -> None:
        for line in help_lines():
            self._note(line)

    async def _on_to(self, user: str) -> None:
        await self._enter(self._model.chat_with(check_user(user)))
        await self._watch()

    async def _on_open(self, word: str) -> None:
        talk = self._model.find(word)
        if talk is None and word.startswith("g:"):
            talk = self._model.open(word, name=(await self._client.group(word)).name)
        if talk is None:
            raise BadRequest(f"there is no conversation {word!r}; /list shows those there are, /to USER begins one")
        await self._enter(talk)

    async def _on_list(self) -> None:
        for number, talk in enumerate(self._model.listed(), 1):
            unread = f"  {talk.unread} unread" if talk.unread else ""
            unread += f", {talk.mentions} to you" if talk.mentions else ""
            self._note(f"{number:3}  {talk.name}  {talk.id}{unread}")

    async def _on_next(self) -> None:
        talk = next((talk for talk in self._model.listed() if talk.unread and talk.id != self._model.current), None)
        if talk is None:
            self._note("Nothing is unread elsewhere.")
        else:
            await self._enter(talk)

    async def _on_info(self) -> None:
        talk = self._here()
        if talk.kind is not ConversationKind.GROUP:
            self._note(f"{talk.name}  {talk.id}  up to #{talk.head}")
            return
        group = await self._client.group(talk.id)
        settings = group.settings
        said = {
            "open": group.open,
            "channel": group.channel,
            "asked for": settings.approval,
            "silent": settings.muted,
            f"one message in {settings.slow_s} s": settings.slow_s > 0,
            f"{group.join_requests} ask to join": group.join_requests > 0,
        }
        kinds = [word for word, holds in said.items() if holds]
        self._note(
            f"{group.name}  {group.id}  {group.member_count} members, up to #{group.head}, "
            f"you are {group.role.name.lower()}" + "".join(f", {kind}" for kind in kinds)
        )
        if settings.description:
            self._note(settings.description)

    async def _on_older(self, count: str = str(HISTORY_PAGE)) -> None:
        if not count.isdigit() or not 1 <= int(count) <= 200:
            raise BadRequest(f"{count!r} is no count of messages: give 1 to 200")
        talk = self._here()
        if not talk.more_before:
            self._note("That is all there is.")
        await self.older(int(count))

    async def _on_retry(self) -> None:
        failed = self._model.failed()
        if not failed:
            self._note("Nothing has failed.")
        for talk, line in failed:
            line.state, line.reason = MessageState.SENDING, ""
            self._client.post(
                talk.id, line.text, reply_to=line.reply_to, mentions=line.mentions, client_id=line.client_id
            )

    # Inside

    def _note(self, text: str) -> None:
        line = self._model.note(text, now_ms())
        self._shown(self._model.talk or NOWHERE, line)

    def _gone(self, group: Group) -> None:
        """The user is no member any more, perhaps since long ago."""
        talk = self._model.talks.get(group.id)
        if talk is not None:
            self._model.forget(group.id)
            self._note(f"You are no member of {talk.name} any more.")
        self._changed()

    def _note_once(self, reason: str) -> None:
        """What is tried again and again, until it says something else."""
        if reason != self._last_reason:
            self._last_reason = reason
            self._note(sentence(reason))

    async def _enter(self, talk: Talk) -> None:
        self._model.open(talk.id)
        self._changed()
        if not talk.loaded:
            await self._load(talk, before=None, count=HISTORY_PAGE)
        self._attend.set()

    async def _load(self, talk: Talk, *, before: int | None, count: int) -> None:
        self._loading.add(talk.id)
        try:
            page = await self._client.history(talk.id, before=before, limit=count)
        finally:
            self._loading.discard(talk.id)
        for line in self._model.page(talk.id, page):
            self._shown(talk, line)

    async def _reload(self) -> None:
        """The server's data are others: nothing of before counts."""
        current = self._model.current
        self._model.talks.clear()
        self._model.listing(await self._client.conversations(limit=200))
        if current in self._model.talks:
            await self._enter(self._model.talks[current])

    async def _mark_read(self) -> None:
        talk = self._model.talk
        if talk is not None and talk.unread and talk.loaded:
            seq = talk.head
            if not talk.left:  # else the server keeps no position any more
                await self._client.read(talk.id, seq)
            self._model.read(talk.id, seq)

    async def _name_groups(self) -> None:
        """A group that this user was added to tells its name only when asked."""
        for talk in self._model.listed():
            if talk.kind is ConversationKind.GROUP and talk.name == talk.id and talk.id not in self._asked:
                self._asked.add(talk.id)
                self._model.apply(await self._client.group(talk.id), time.monotonic())

    async def _know_people(self) -> None:
        """Who is in the group on the screen, and how the people around are called."""
        talk = self._model.talk
        if talk is not None and talk.kind is ConversationKind.GROUP and not talk.large and talk.id not in self._joined:
            self._joined.add(talk.id)
            talk.people |= {member.user for member in await self._client.members(talk.id, limit=PEOPLE_MAX)}
        around = {self._model.peer(each) for each in self._model.listed()[:WATCHED_MAX]} - {""}
        around |= talk.people if talk is not None else set()
        fresh = sorted(around - self._called)[: CALLED_MAX - len(self._called)]
        if fresh:
            self._called |= set(fresh)
            for profile in await self._client.profiles(fresh, watch=True):
                self._model.apply(ProfileChanged(profile), time.monotonic())
            self._changed()

    async def _watch(self) -> None:
        """Whether the people in the list are online."""
        peers = {self._model.peer(talk) for talk in self._model.listed()[:WATCHED_MAX]} - {"", self._model.me}
        fresh = sorted(peers - self._watched)
        if fresh:
            self._watched |= peers
            for presence in await self._client.presence(fresh, watch=True):
                self._model.apply(presence, time.monotonic())
            self._changed()

    async def _try(self, action: Awaitable[None]) -> None:
        """What the server refuses is told, not raised; unless the session is over, which `follow` tells."""
        try:
            await action
        except TidingsError as error:
            self._tell(error)

    def _tell(self, error: TidingsError) -> None:
        if self._model.link.state is not LinkState.CLOSED:
            self._note(sentence(error.message))


NOWHERE = Talk("", "", ConversationKind.UNKNOWN)
