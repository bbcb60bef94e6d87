"""The chat on a full screen: conversations at the left, the transcript, who is typing, the line to write, the status.

Does not know: the client. Everything that is done goes through the controller, everything shown comes from render.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Point
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import (
    ConditionalContainer,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from tidings import Client
from tools.cli.chat import render
from tools.cli.chat.commands import completions
from tools.cli.chat.controller import Controller, Quit
from tools.cli.chat.model import ChatModel
from tools.cli.chat.render import SIDEBAR_COLUMNS, Row

WIDE_COLUMNS = 70
COMMANDS_MAX = 100
STYLE = Style.from_dict(
    {
        "title": "reverse",
        "time": "ansibrightblack",
        "note": "ansibrightblack italic",
        "day": "ansibrightblack",
        "unread": "ansired",
        "system": "ansibrightblack",
        "reply": "ansibrightblack",
        "me": "ansicyan",
        "sending": "ansibrightblack",
        "sent": "ansibrightblack",
        "read": "ansiblue bold",
        "failed": "ansired",
        "online": "ansigreen",
        "offline": "ansibrightblack",
        "count": "ansired bold",
        "current": "reverse",
        "status": "ansibrightblack",
        "typing": "ansibrightblack italic",
        "name0": "ansigreen",
        "name1": "ansiyellow",
        "name2": "ansimagenta",
        "name3": "ansiblue",
        "name4": "ansibrightgreen",
        "name5": "ansibrightyellow",
        "name6": "ansibrightmagenta",
        "name7": "ansibrightblue",
    }
)


class Screen:
    def __init__(self, client: Client, to: str | None, group: str | None) -> None:
        self._model = ChatModel(client.user)
        self._controller = Controller(client, self._model, changed=self._redraw)
        self._to, self._group = to, group
        self._todo: asyncio.Queue[Callable[[], Coroutine[Any, Any, None]]] = asyncio.Queue(COMMANDS_MAX)
        self._back = 0  # rows between the end and where the person has scrolled to
        self._rows: list[Row] = []
        self._here = ""
        self._input = TextArea(
            height=1,
            prompt=[("class:me", "> ")],
            multiline=False,
            history=InMemoryHistory(),
            completer=_Words(self._model),
            complete_while_typing=Condition(self._mentioning),
            accept_handler=self._accept,
        )
        self._input.buffer.on_text_changed += self._on_typed
        self._app: Application[None] = Application(
            layout=Layout(self._layout(), focused_element=self._input),
            key_bindings=self._keys(),
            style=STYLE,
            full_screen=True,
            refresh_interval=1.0,
        )

    async def run(self) -> None:
        """Until the person leaves. Raises SessionEnded when the server ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._controller.follow(), name="chat-follow"),
                    tasks.create_task(self._controller.attend(), name="chat-attend"),
                    tasks.create_task(self._work(), name="chat-work"),
                ]
                await self._app.run_async(handle_sigint=False)
                for task in background:
                    task.cancel()
        except* Quit:
            pass

    async def _work(self) -> None:
        """What the person asked for, one after the other."""
        await self._controller.begin(self._to, self._group)
        while True:
            await (await self._todo.get())()

    def _do(self, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Not more than a person can have meant."""
        if not self._todo.full():
            self._todo.put_nowait(action)

    # What the person does

    def _accept(self, buffer: Buffer) -> bool:
        text = buffer.text
        self._back = 0
        if not self._controller.say(text):
            self._do(lambda: self._controller.enter(text))
        return False

    def _on_typed(self, buffer: Buffer) -> None:
        text = buffer.text
        if text and not text.startswith("/"):
            self._do(lambda: self._controller.typing(text))

    def _mentioning(self) -> bool:
        """Whether a name is being typed that may be looked for."""
        return self._input.document.text_before_cursor.rpartition(" ")[2].startswith("@")

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("c-d")
        def _leave(event: Any) -> None:
            event.app.exit()

        @keys.add("pageup")
        def _up(_event: Any) -> None:
            self._scroll(self._page())

        @keys.add("pagedown")
        def _down(_event: Any) -> None:
            self._scroll(-self._page())

        @keys.add("c-n")
        @keys.add("escape", "down")
        def _next(_event: Any) -> None:
            self._do(lambda: self._controller.go(1))

        @keys.add("c-p")
        @keys.add("escape", "up")
        def _previous(_event: Any) -> None:
            self._do(lambda: self._controller.go(-1))

        @keys.add("f1")
        def _help(_event: Any) -> None:
            self._do(lambda: self._controller.enter("/help"))

        return keys

    def _page(self) -> int:
        return max(3, self._app.output.get_size().rows - 7)

    def _scroll(self, rows: int) -> None:
        """Up is positive. At the top, older messages are read."""
        before = self._back
        self._back = min(max(0, self._back + rows), max(0, len(self._rows) - 1))
        if rows > 0 and (self._back == before or self._back + self._page() >= len(self._rows)):
            self._do(self._controller.older)

    # What is drawn

    def _redraw(self) -> None:
        self._app.invalidate()

    def _layout(self) -> FloatContainer:
        transcript = Window(
            FormattedTextControl(self._transcript, get_cursor_position=self._cursor, show_cursor=False),
            wrap_lines=True,
        )
        sidebar = ConditionalContainer(
            VSplit(
                [
                    Window(FormattedTextControl(self._sidebar), width=SIDEBAR_COLUMNS),
                    Window(width=1, char="│", style="class:note"),
                ]
            ),
            filter=Condition(lambda: self._app.output.get_size().columns >= WIDE_COLUMNS),
        )
        talk = HSplit(
            [
                Window(FormattedTextControl(self._title), height=1, style="class:title"),
                transcript,
                Window(FormattedTextControl(self._typing), height=1, style="class:typing"),
                self._input,
            ]
        )
        body = HSplit(
            [
                VSplit([sidebar, talk]),
                Window(FormattedTextControl(self._status), height=1, style="class:status"),
            ]
        )
        return FloatContainer(body, [Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)])

    def _transcript(self) -> FormattedText:
        rows = render.transcript(self._model, self._model.talk)
        if self._model.current != self._here:
            self._here, self._back = self._model.current, 0
        elif self._back:
            self._back += max(0, len(rows) - len(self._rows)) if self._grew_at_end(rows) else 0
        self._rows = rows
        return _text(rows)

    def _grew_at_end(self, rows: list[Row]) -> bool:
        """New messages below must not move what the person reads; older ones above do not."""
        return bool(self._rows) and bool(rows) and rows[-1] is not self._rows[-1] and rows[-1] != self._rows[-1]

    def _cursor(self) -> Point:
        """The row that must be in sight."""
        return Point(0, max(0, len(self._rows) - 1 - self._back))

    def _sidebar(self) -> FormattedText:
        return _text(render.sidebar(self._model, time.time_ns() // 1_000_000))

    def _title(self) -> FormattedText:
        return FormattedText(render.title(self._model, time.time_ns() // 1_000_000))

    def _typing(self) -> str:
        return render.typing(self._model, time.monotonic())

    def _status(self) -> FormattedText:
        hint = "  ·  F1 help  PgUp older  Ctrl-N/P chats  Ctrl-C leave"
        return FormattedText([*render.status(self._model, time.monotonic()), ("class:note", hint)])


class _Words(Completer):
    def __init__(self, model: ChatModel) -> None:
        self._model = model

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        del complete_event
        text = document.text_before_cursor
        users = sorted({self._model.peer(talk) for talk in self._model.listed()} - {""})
        people = self._model.people(self._model.talk)
        names = {user: profile.name for user, profile in self._model.profiles.items()}
        for word in completions(text, users, people, names):
            called = names.get(word.removeprefix("@"), "") if word.startswith("@") else ""
            yield Completion(
                word, start_position=-len(text.rpartition(" ")[2]), display_meta=render.safe(called).replace("\n", " ")
            )


def _text(rows: list[Row]) -> FormattedText:
    text = FormattedText()
    for index, row in enumerate(rows):
        if index:
            text.append(("", "\n"))
        text.extend(row)
    return text
