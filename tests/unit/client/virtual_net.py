"""One client core, the model server, and a network between them that loses, repeats, delays and cuts. Virtual time.

Everything that happens is drawn from one seed. `calm` ends the faults, so that what must heal can be waited for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import assert_never

from tests.support.cluster.model_server import ModelServer, Session
from tidings import Message, MessageChanged
from tidings.core import device as core
from tidings.core.messages.feed import Handed
from tidings.core.signals import (
    AskToken,
    Available,
    Done,
    Drop,
    Failed,
    Idle,
    Input,
    Leave,
    Lost,
    Notify,
    Open,
    Opened,
    OpenFailed,
    Received,
    Renew,
    RenewalFailed,
    Renewed,
    Save,
    Start,
    Stopped,
    Submit,
    Tick,
    TokenReady,
    Transmit,
)
from tidings.model import Notice
from tidings.state import SavedState
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import direct


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances, per frame of the server (welcome excepted, and of losing a pong) or per connection attempt."""

    lose: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    refuse: float = 0.0


class World:
    """The user `me` on one device, with everybody else as calls to the server.

    `work_s`: how long the application is at work on a message (0: no time). `fresh_tokens`: it gives others when asked,
    by `next_token`. `clock_jumps`: the device's own clock is set ahead and back as it likes. `lose` and `takes_s` may
    be set to lose certain frames, or to have them take longer.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults,
        *,
        capacity: int = 50,
        from_start: bool = False,
        work_s: float = 0.0,
        fresh_tokens: bool = False,
        clock_jumps: bool = False,
    ) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.now = 0.0
        self.server = ModelServer()
        self.shown: list[Message] = []
        self.events: list[Message | MessageChanged] = []  # messages, and what changed them
        self.handled: list[Message] = []  # the application was done with these
        self.tokens: list[str] = []  # of the hellos
        self.next_token: Callable[[], str | None] = lambda: "token"
        self.renewals = 0
        self.notices: list[Notice] = []
        self.outcomes: dict[int, pb.ServerFrame | TidingsError] = {}
        self.acks: list[tuple[float, int]] = []
        self.connections = 0
        self.restarts = 0
        self.reading = True
        self.lose: Callable[[pb.ServerFrame], bool] = lambda _frame: False
        self.takes_s: Callable[[pb.ServerFrame], float] = lambda _frame: 0.002  # from the server to here
        self.ended: TidingsError | None = None
        self._capacity = capacity
        self._from_start = from_start
        self._work_s = work_s
        self._fresh_tokens = fresh_tokens
        self._clock_jumps = clock_jumps
        self._at_work: Handed | None = None
        self._kept: tuple[float, SavedState | None] = (0.0, None)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ticket = 0
        self._session: Session | None = None
        self._link = -1
        self._idle = False
        self.client = self._new_client(None)

    # What a test does

    def start(self) -> None:
        self._tell(Start())
        self.run(1.0)

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        end = self.now + seconds
        while True:
            wake = self.client.next_wake()
            due = min(self._agenda[0][0] if self._agenda else end + 1, end + 1 if wake is None else wake)
            if due > end:
                break
            self.now = max(self.now, due)
            if self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
            else:
                self._tell(Tick())
            self._read()
        self.now = end

    def calm(self) -> None:
        self.faults = Faults()

    def send(self, conversation: str, text: str) -> int:
        """The client sends; its ticket."""
        self._ticket += 1
        frame = pb.ClientFrame(
            send=pb.Send(client_id=f"c{self._ticket}", conversation=conversation, content=pb.Content(text=text))
        )
        self._tell(Submit(self._ticket, frame, conversation))
        return self._ticket

    def change(self, change: pb.Change) -> int:
        """The client changes a message; its ticket."""
        self._ticket += 1
        change.client_id = f"c{self._ticket}"
        self._tell(Submit(self._ticket, pb.ClientFrame(change=change), change.conversation))
        return self._ticket

    def submit(self, submit: Submit) -> None:
        """The application asks for something."""
        self._tell(submit)

    def sent(self, ticket: int) -> tuple[str, int]:
        """The place that a send was told."""
        outcome = self.outcomes[ticket]
        assert isinstance(outcome, pb.ServerFrame)
        return outcome.sent.conversation, outcome.sent.seq

    def cut(self) -> None:
        """The connection breaks."""
        if self._session is not None:
            self.server.end(self._session)
            self._session = None
            self._tell(Lost(self._link, 0, "cut"))

    def restart(self) -> None:
        """The process ends, by leaving or by dying, and starts again with what was saved of its place."""
        self.restarts += 1
        if self.random.random() < 0.5:
            self._tell(Leave())
            self.ended = None
        self._begin_anew(self.client.saved())

    def _begin_anew(self, saved: SavedState | None) -> None:
        self._at_work = None
        if self._session is not None:
            self.server.end(self._session)
            self._session = None
        self._link = -1
        self._agenda.clear()
        self.client = self._new_client(saved)
        self._tell(Start())

    def kill(self) -> None:
        """The process dies and starts again with what was kept of its place, up to half a second ago."""
        self.restarts += 1
        self._begin_anew(self._kept[1])

    def push(self, frame: pb.ServerFrame) -> None:
        """The server says something by itself."""
        self._arrive(self._link, frame, 0.0)

    def ping(self) -> None:
        """The person comes and goes: the client pings each time."""
        self._idle = not self._idle
        self._tell(Idle(self._idle))

    def wall_ms(self) -> int:
        """What time the device thinks it is."""
        jump_s = self.random.choice((-86_400.0, 0.0, 3_600.0)) if self._clock_jumps else 0.0
        return round((1_700_000_000.0 + self.now + jump_s) * 1000)

    @property
    def session(self) -> Session | None:
        return self._session

    def me_to(self, user: str) -> str:
        return direct("me", user)

    # The shell

    def _new_client(self, saved: SavedState | None) -> core.Device:
        options = core.Options(
            ["ws://a"],
            "phone",
            capacity=self._capacity,
            from_start=self._from_start,
            fresh_tokens=self._fresh_tokens,
        )
        return core.Device(options, saved, self.random.random)

    def _tell(self, event: Input) -> None:
        for effect in self.client.handle(event, self.now):
            match effect:
                case AskToken():
                    self._later(0.0, lambda: self._tell(TokenReady(self.next_token() or "token")))
                case Renew():
                    self.renewals += 1
                    self._later(0.05, self._renew)
                case Open(link, _):
                    self._later(0.005, lambda link=link: self._open(link))  # type: ignore[misc]
                case Transmit(frame):
                    link = self._link
                    self._later(0.002, lambda frame=frame, link=link: self._serve(link, frame))  # type: ignore[misc]
                case Done(ticket, outcome) | Failed(ticket, outcome):
                    assert ticket not in self.outcomes
                    self.outcomes[ticket] = outcome
                case Notify(notice):
                    self.notices.append(notice)
                case Drop():
                    if self._session is not None:
                        self.server.end(self._session)
                        self._session = None
                case Stopped(error):
                    self.ended = error
                case Available() | Save():
                    pass
                case _:
                    assert_never(effect)

    def _renew(self) -> None:
        token = self.next_token()
        self._tell(RenewalFailed() if token is None else Renewed(token))

    def _open(self, link: int) -> None:
        if self.random.random() < self.faults.refuse:
            self._tell(OpenFailed(link, "refused"))
            return
        self._link = link
        self.connections += 1
        self._tell(Opened(link, self.wall_ms()))

    def _serve(self, link: int, frame: pb.ClientFrame) -> None:
        if link != self._link:
            return
        if frame.HasField("hello"):
            self.tokens.append(frame.hello.token)
            self._session, welcome = self.server.hello(frame.hello, lambda push: self._send_back(link, push), "me")
            welcome.id = frame.id
            self._arrive(link, welcome, 0.002)
            return
        if self._session is None:
            return
        if frame.HasField("ack"):
            self.acks.append((self.now, frame.ack.number))
        reply = self.server.answer(self._session, frame)
        if reply is not None:
            self._send_back(link, reply)

    def _send_back(self, link: int, frame: pb.ServerFrame) -> None:
        copy = pb.ServerFrame()
        copy.CopyFrom(frame)
        # A pong tells what moved since the one before, so it is lost only with its connection.
        if self.lose(frame) or (not frame.HasField("pong") and self.random.random() < self.faults.lose):
            return
        delay = self.random.random() * 0.5 if self.random.random() < self.faults.delay else self.takes_s(frame)
        self._arrive(link, copy, delay)
        if self.random.random() < self.faults.repeat:
            self._arrive(link, copy, delay + self.random.random() * 0.1)

    def _arrive(self, link: int, frame: pb.ServerFrame, delay: float) -> None:
        self._later(delay, lambda: self._tell(Received(link, frame)))

    def _read(self) -> None:
        if self.now >= self._kept[0] + 0.5:
            self._kept = (self.now, self.client.saved())
        while self.reading and self._at_work is None and (handed := self.client.take(self.now)) is not None:
            self.events.append(handed.event)
            if isinstance(handed.event, Message):
                self.shown.append(handed.event)
            self._at_work = handed
            if self._work_s:
                self._later(self._work_s, lambda handed=handed: self._done(handed))  # type: ignore[misc]
                self._tell(Tick())
            else:
                self._done(handed)

    def _done(self, handed: Handed) -> None:
        """The application asks for the next message."""
        self._at_work = None
        if isinstance(handed.event, Message):
            self.handled.append(handed.event)
        self.client.took(handed)
        self._tell(Tick())

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.now + delay, self._count, act))
