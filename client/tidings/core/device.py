"""One device and the cluster, over any number of sessions, one after the other. Pure: `handle(event, now)` -> effects.

Guarantees: those of messages/feed.py (each message once, in order), messages/outbox.py (each send to its outcome),
contents/ (what messages say now), connection/dialer.py (how it connects again), pulse.py (heartbeats,
acknowledgements) and renewal.py (tokens) together; this module only joins them.
Each hello carries a higher `attempt` than the one before, also over restarts with a kept state, so that of two logins
of this device the server knows the newer one.

Does not know: sockets, tasks, clocks. The shell (engine.py) performs the effects in order, and calls `handle` with
a Tick when `next_wake` has come and after `take` and `took`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never, cast

from tidings.core.connection.dialer import Bye, Dialer, Greeting, Over
from tidings.core.connection.pulse import Pulse
from tidings.core.connection.renewal import Renewal
from tidings.core.connection.watches import Watches
from tidings.core.contents.contents import Contents
from tidings.core.contents.writings import Writings
from tidings.core.errands import Errand, Errands, TakeToken, WatchAgain, WatchProfilesAgain, frame_for
from tidings.core.messages.feed import Feed, Handed
from tidings.core.messages.outbox import Outbox
from tidings.core.messages.progress import ProgressBook
from tidings.core.messages.wants import Want, WantHistory, WantInfo, WantList, WantMessage, WantSync
from tidings.core.pushes import notices_of, presences, profiles
from tidings.core.signals import (
    Available,
    Cancel,
    Done,
    Effect,
    Failed,
    Idle,
    Input,
    Leave,
    Lost,
    Notify,
    Opened,
    OpenFailed,
    Received,
    Renew,
    RenewalFailed,
    Renewed,
    Save,
    Start,
    Submit,
    Tell,
    Tick,
    TokenFailed,
    TokenReady,
    Transmit,
    Watch,
)
from tidings.model import DeviceKind, Restarted
from tidings.state import SavedState
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import TidingsError

PROTOCOL = 11


@dataclass(frozen=True, slots=True)
class Options:
    """`fresh_tokens`: the application can give another token when one is refused.

    `capacity`: messages that may wait for the application; `outbox_capacity`: requests that may wait for the server;
    `pipeline`: unanswered sends to one conversation; `from_start`: a new device reads the whole inbox.
    """

    seeds: Sequence[str]
    device: str
    kind: DeviceKind = DeviceKind.BOT
    client: str = ""
    fresh_tokens: bool = False
    capacity: int = 1000
    outbox_capacity: int = 1000
    pipeline: int = 1
    from_start: bool = False


class Device:
    def __init__(self, options: Options, saved: SavedState | None, random: Callable[[], float]) -> None:
        if saved is not None and saved.device != options.device:
            saved = None  # the cursor of another device says nothing about this one
        self._options = options
        self._dialer = Dialer(options.seeds, random, fresh_tokens=options.fresh_tokens)
        self._outbox = Outbox(random, capacity=options.outbox_capacity, pipeline=options.pipeline)
        self._contents = Contents()
        self._feed = Feed(
            saved,
            self._settle_own,
            capacity=options.capacity,
            from_start=options.from_start,
            copies=self._contents.copies,
        )
        self._progress = ProgressBook()
        self._watches = Watches()
        self._profile_watches = Watches()
        self._renewal = Renewal(random)
        self._attempt = saved.attempt if saved is not None else 0
        self._pulse: Pulse | None = None  # while the session lives
        self._idle = False
        self._errands = Errands()
        self._effects: list[Effect] = []
        self.welcome: pb.Welcome | None = None
        self.writings = Writings()

    @property
    def live(self) -> bool:
        return self._pulse is not None

    @property
    def user(self) -> str:
        """Known from the first welcome on (or from the saved state)."""
        return self._feed.user

    @property
    def pending(self) -> int:
        """How many requests of the application have no outcome yet."""
        return self._outbox.waiting

    @property
    def over(self) -> TidingsError | None:
        """Why no session follows any more, once that is so."""
        return self._dialer.phase.error if isinstance(self._dialer.phase, Over) else None

    @property
    def waiting(self) -> int:
        """Messages that wait for the application."""
        return self._feed.waiting

    def take(self, now: float) -> Handed | None:
        """The next message for the application, or change of one. A Tick must follow."""
        return self._feed.take(now, self._contents.clock.time_ms(now))

    def took(self, handed: Handed) -> None:
        """The application is done with it. A Tick must follow, so that it is acknowledged in time."""
        self._feed.took(handed)

    @property
    def content_bytes_max(self) -> int:
        """How large a content the server takes; 0: it does not say."""
        return self._outbox.limits.content_bytes_max

    def hide(self, hidden: pb.Hide) -> None:
        """The user wants to see these no more."""
        self._contents.hide(hidden)

    def saved(self) -> SavedState | None:
        """Where this device stands now; None: nowhere yet."""
        return replace(self._feed.saved(self._options.device), attempt=self._attempt) if self._feed.epoch else None

    def next_wake(self) -> float | None:
        """When a Tick is due; None: only when something happens."""
        times = [self._dialer.next_wake(), self._outbox.next_wake(live=self.live), self._contents.next_wake()]
        if self._pulse is not None:
            times += [self._pulse.next_wake(self._feed.cursor), self._feed.next_wake(), self._renewal.next_wake()]
            times.append(self.writings.next_wake())
        return min((time for time in times if time is not None), default=None)

    def handle(self, event: Input, now: float) -> list[Effect]:
        """What happened, and what is to be done."""
        self._effects = []
        waiting = self._feed.waiting
        over = self.over
        if over is None:
            if isinstance(event, Opened | OpenFailed | Received | Lost):
                if event.link == self._dialer.link:
                    self._hear(event, now)
            else:
                self._obey(event, now)
            self._proceed(now)
        elif isinstance(event, Submit):
            self._effects.append(Failed(event.ticket, over))
        if self._feed.waiting > waiting:
            self._effects.append(Available())
        return self._effects

    def _hear(self, event: Opened | OpenFailed | Received | Lost, now: float) -> None:
        """Handles what the present connection brings."""
        match event:
            case Opened(_, wall_ms):
                self._greet(wall_ms, now)
            case OpenFailed(_, reason, retry_after_s):
                self._dialer.open_failed(reason, now, retry_after_s)
            case Received(_, frame):
                self._receive(frame, now)
            case Lost(_, code, reason):
                self._ended(Bye(code, reason), now)
            case _:
                assert_never(event)

    def _obey(
        self,
        event: Start
        | TokenReady
        | TokenFailed
        | Renewed
        | RenewalFailed
        | Tick
        | Submit
        | Cancel
        | Tell
        | Watch
        | Idle
        | Leave,
        now: float,
    ) -> None:
        """Handles what the application and its shell ask for."""
        match event:
            case Start():
                self._dialer.start()
            case TokenReady() | TokenFailed() | Renewed() | RenewalFailed():
                self._token_came(event, now)
            case Tick():
                self._dialer.tick(now)
            case Submit():
                self._submit(event, now)
            case Cancel(ticket):
                if self._outbox.cancel(ticket):
                    self._progress.cancelled(ticket)
            case Tell(frame):
                self._transmit(frame)
            case Watch(users, on, of_profiles):
                (self._profile_watches if of_profiles else self._watches).change(users, on=on)
            case Idle(idle):
                self._set_idle(idle, now)
            case Leave():
                self._leave()
            case _:
                assert_never(event)

    def _token_came(self, event: TokenReady | TokenFailed | Renewed | RenewalFailed, now: float) -> None:
        match event:
            case TokenReady(token):
                self._dialer.token_ready(token)
            case TokenFailed(reason, final):
                self._dialer.token_failed(reason, now, final=final)
            case Renewed(token):
                self._renewed(token, now)
            case RenewalFailed():
                self._renewal.failed(now)
            case _:
                assert_never(event)

    # What comes

    def _greet(self, wall_ms: int, now: float) -> None:
        self._attempt = max(self._attempt + 1, wall_ms)
        hello = pb.Hello(
            token=self._dialer.token,
            device=self._options.device,
            kind=cast("pb.Hello.Kind.ValueType", int(self._options.kind)),
            cursor=self._feed.cursor,
            epoch=self._feed.epoch,
            client=self._options.client,
            group_cursors=self._feed.group_cursors(),
            avoid=self._dialer.avoid(now),
            protocol=PROTOCOL,
            attempt=self._attempt,
        )
        self._dialer.greeted(now)
        self._effects += [Transmit(pb.ClientFrame(hello=hello)), Save()]

    def _receive(self, frame: pb.ServerFrame, now: float) -> None:
        if frame.HasField("goodbye"):
            said = frame.goodbye
            self._ended(Bye(said.code, said.message, said.retry_after_ms / 1000, said.address), now)
        elif isinstance(self._dialer.phase, Greeting):
            if frame.HasField("welcome"):
                self._welcome(frame.welcome, now)
            elif frame.HasField("error"):
                self._ended(Bye(0, frame.error.message, frame.error.retry_after_ms / 1000), now)
        elif self._pulse is not None:
            self._contents.read(frame)
            if frame.id and not self.writings.refused(frame, now):
                took_s = self._outbox.flown_s(frame.id, now)
                if took_s is not None and frame.HasField("sent"):
                    self._feed.answered(took_s, now)
                outcome = self._outbox.answered(frame, now)
                if outcome is not None:
                    self._outcome(outcome, now)
            self._take_in(frame, now)
            self._pulse.heard(now, owed=self._outbox.flying)

    def _welcome(self, welcome: pb.Welcome, now: float) -> None:
        self.welcome = welcome
        self._outbox.backoff = self._dialer.welcomed(welcome, now)
        self._outbox.limits = welcome.limits
        self._contents.clock.told(welcome.time_ms, now)
        self._contents.begin(welcome.user)
        self.writings.welcomed()
        first = self._feed.welcome(welcome, now)
        if first is not None:
            self._contents.forget()
        heartbeat_s = float(welcome.heartbeat_s or 15)
        # What was taken just before the connection broke may never have been acknowledged: it is, once more. A device
        # that begins anew holds nothing of what is before its cursor.
        acked = 0 if first is None else self._feed.cursor
        self._pulse = Pulse(now, heartbeat_s, float(welcome.idle_heartbeat_s or heartbeat_s), acked, self._idle)
        self._pulse.wait(now)
        if self._options.fresh_tokens:
            self._renewal.begin(self._dialer.token, welcome.time_ms, now)
        if first is not None:
            self._effects.append(Notify(Restarted(welcome.epoch, first)))
        for users in self._watches.again():
            self._run_errand(WatchAgain(users), now)
        for users in self._profile_watches.again():
            self._run_errand(WatchProfilesAgain(users), now)
        self._effects.append(Save())

    def _take_in(self, frame: pb.ServerFrame, now: float) -> None:
        """What a frame tells, whether it answers something or not."""
        match frame.WhichOneof("body"):
            case "deliver":
                self._feed.deliver(frame.deliver.entries, now)
            case "sent":
                self._own_sent(frame.sent, now)
            case "pong":
                self._contents.clock.told(frame.pong.time_ms, now)
                self._feed.heads(frame.pong, now)
            case "lagging":
                self._feed.lagging(frame.lagging)
            case "stream_part":
                grew, want = self._contents.grew(frame.stream_part, now)
                self._effects += map(Notify, grew)
                if want is not None:
                    self._run_errand(want, now)
            case "hidden":
                self._contents.hide(frame.hidden)
            case "group_info" if not frame.id and not frame.group_info.role:
                self._feed.removed(frame.group_info.conversation, now)
            case _:
                pass
        self._effects += map(Notify, notices_of(frame))
        if frame.HasField("receipt") and frame.receipt.user != self._feed.user:
            self._effects += map(Notify, self._progress.receipt(frame.receipt))

    def _own_sent(self, sent: pb.Sent, now: float) -> None:
        """A send or a change of this client was stored."""
        entry = self._contents.answered(sent)
        if entry is not None:
            self._feed.own_changed(entry, sent.number, now)
        elif sent.seq:
            self._feed.own_sent(sent, now)

    # What became of what was asked

    def _outcome(self, outcome: Done | Failed, now: float) -> None:
        """Takes what became of a request: the application's (a ticket above 0), or an errand of our own."""
        if outcome.ticket > 0:
            self._tell(outcome)
            return
        errand = self._errands.end(outcome.ticket)
        match errand, outcome:
            case TakeToken(token), _:
                self._refreshed(token, now, taken=isinstance(outcome, Done))
            case WatchAgain(), Done(_, frame):
                self._effects += map(Notify, presences(frame.presence_list))
            case WatchProfilesAgain(), Done(_, frame):
                self._effects += map(Notify, profiles(frame.profile_list))
            case WantMessage(), Done():
                self._effects += map(Notify, self._contents.read_again(errand))
            case None | WatchAgain() | WatchProfilesAgain() | WantMessage(), _:
                pass
            case want, Done(_, frame):
                self._wanted(want, frame, now)
            case want, Failed():
                self._feed.refused(want, now)

    def _tell(self, outcome: Done | Failed) -> None:
        """The application: its result, and if it was a message, the state of it."""
        self._effects.append(outcome)
        self._effects += map(Notify, self._progress.came_out(outcome))

    def _wanted(self, want: Want, frame: pb.ServerFrame, now: float) -> None:
        match want:
            case WantSync():
                self._feed.synced(want, frame.page, now)
            case WantHistory():
                self._feed.filled(want, frame.page, now)
            case WantInfo():
                self._feed.informed(want, frame.group_info, now)
            case WantList():
                again = self._feed.listed(want, frame.conversation_page, now)
                if again is not None:
                    self._run_errand(again, now)

    def _renewed(self, token: str, now: float) -> None:
        """The application gave a token for the session that lives: the server is asked to take it."""
        if self._pulse is None:
            return
        if not token or token == self._dialer.token:
            self._renewal.failed(now)
            return
        self._run_errand(TakeToken(token), now)

    def _refreshed(self, token: str, now: float, *, taken: bool) -> None:
        """If the server did not take it, the session goes on as it was, and its end brings the next try."""
        if taken:
            self._dialer.token = token
            self._renewal.renewed(token, now)
        else:
            self._renewal.failed(now)

    def _settle_own(self, message: pb.Message) -> bool:
        """Whether a message that came was sent by this client (its answer was lost, if it still waits for one)."""
        if message.sender != self._feed.user:
            return False
        own, done = self._outbox.settle(message)
        if done is not None:
            self._tell(done)
        return own

    def _ended(self, bye: Bye, now: float) -> None:
        """The connection is over."""
        if self._pulse is not None:
            self._pulse = None
            self._feed.lost()
            self._errands.clear()
            self._renewal.stop()
            self._outbox.lost(now)
        self._dialer.ended(bye, now)

    # What goes out

    def _proceed(self, now: float) -> None:
        """Everything that is due, whatever happened."""
        for failed in self._outbox.expire(now):
            self._outcome(failed, now)
        self._effects += map(Notify, self._contents.expire(now))
        if self._pulse is not None and self._pulse.dead(now):
            self._ended(Bye(0, "the server does not answer, it is tried again"), now)
        if self._pulse is not None:
            self._proceed_live(self._pulse, now)
        self._effects += self._dialer.flush()
        if self.over is not None:
            for failed in self._outbox.close(self.over):
                self._outcome(failed, now)

    def _proceed_live(self, pulse: Pulse, now: float) -> None:
        for want in list(self._feed.wants(now)):
            self._run_errand(want, now)
        for part in self.writings.flush(now):
            self._transmit(part)
        for out in self._outbox.flush(now):
            if isinstance(out, Failed):
                self._outcome(out, now)
            else:
                self._transmit(out)
                pulse.owe(now)
        if pulse.ack_due(self._feed.cursor, now):
            self._transmit(pb.ClientFrame(ack=pb.Ack(number=pulse.acked)))
            self._effects.append(Save())
        if pulse.ping_due(now):
            self._ping(pulse, now)
        if self._renewal.due(now):
            self._effects.append(Renew())

    def _ping(self, pulse: Pulse, now: float) -> None:
        self._transmit(pb.ClientFrame(ping=pb.Ping(idle=self._idle)))
        pulse.pinged(now)

    def _transmit(self, frame: pb.ClientFrame) -> None:
        """Only in a live session."""
        if self._pulse is not None:
            self._effects.append(Transmit(frame))

    def _submit(self, submit: Submit, now: float) -> None:
        self._effects += map(Notify, self._progress.submitted(submit))
        self._contents.asked(submit.frame)
        failed = self._outbox.submit(submit, now)
        if failed is not None:
            self._tell(failed)

    def _run_errand(self, errand: Errand, now: float) -> None:
        self._outbox.submit(Submit(self._errands.begin(errand), frame_for(errand)), now)

    def _set_idle(self, idle: bool, now: float) -> None:
        changed, self._idle = idle != self._idle, idle
        if changed and self._pulse is not None:
            self._pulse.idle = idle
            self._ping(self._pulse, now)

    def _leave(self) -> None:
        if self._pulse is not None and self._feed.cursor > self._pulse.acked:
            self._transmit(pb.ClientFrame(ack=pb.Ack(number=self._feed.cursor)))
        self._transmit(pb.ClientFrame(bye=pb.Bye()))
        self._pulse = None
        self._effects.append(Save())
        self._dialer.leave()
