"""Whatever happens in whatever order: what a session promises."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    Abort,
    AskedToLeave,
    Become,
    CheckHello,
    CloseSession,
    Dispatch,
    Effects,
    EndRequested,
    FrameCame,
    FrameRefused,
    FrameTooLarge,
    HandleHeld,
    HelloAccepted,
    Hold,
    Opened,
    PeerGone,
    ResumeReading,
    SayGoodbye,
    StopReading,
    StoreSession,
    Ticked,
    Unregister,
)
from services.access.session.handshaking import Handshaking
from services.access.session.heartbeat import FOREVER
from services.access.session.limits import LimitPolicy
from services.access.session.session import Phase, Session, SessionPolicy
from tidings_protocol import client_pb2, close
from tidings_protocol.operations import OPERATIONS, REQUESTS, Size

POLICY = SessionPolicy(unanswered_max=4, pages_max=2, held_max=3, limits=LimitPolicy(refused_per_window=5))

frames = st.sampled_from([*OPERATIONS]).map(lambda body: FrameCame(body, 10))
others = st.sampled_from(
    [
        FrameRefused("a field"),
        FrameRefused("nothing", fatal=True),
        FrameTooLarge(),
        HelloAccepted(client_pb2.Hello.WEB, 500.0),
        Opened(),
        EndRequested(close.REPLACED),
        AskedToLeave(close.DRAINING),
        Ticked(),
        PeerGone(),
        "answer",
        "answer",
        "answer",
        "block",
        "unblock",
    ]
)
steps = st.lists(st.tuples(st.floats(0, 4), frames | frames | others), max_size=80)


class Shell:
    """Carries effects out as the connection does, and notes them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.session: Session = Handshaking(POLICY, DeliveryState(), 0.0)
        self.effects: list[object] = []
        self.held: deque[str] = deque()
        self.unanswered: list[str] = []
        self.handed_on: list[str] = []
        self.reading = True
        self.opening = self.stored = False
        self.gone = False

    def do(self, step: object) -> None:
        session = self.session
        match step:
            case FrameCame(body=body):
                # What the transport has read already may still come after reading was stopped.
                self.carry_out(session.handle(step, self.now), body)
            case HelloAccepted() if self.opening:
                self.opening = False
                self.carry_out(session.handle(step, self.now), "")
            case Opened() if self.stored:
                self.stored = False
                self.carry_out(session.handle(step, self.now), "")
            case HelloAccepted() | Opened():
                pass  # the node says these only when it was asked
            case "answer":
                if self.unanswered:
                    self.carry_out(session.answer(self.unanswered.pop(0), self.now), "")
            case "block":
                self.carry_out(session.block() if session.phase is Phase.OPEN else (), "")
            case "unblock":
                self.carry_out(session.unblock() if session.delivery.blocked else (), "")
            case PeerGone():
                if not self.gone:
                    self.gone = True
                    self.carry_out(session.handle(step, self.now), "")
            case FrameRefused() | FrameTooLarge() | EndRequested() | AskedToLeave() | Ticked():
                self.carry_out(session.handle(step, self.now), "")

    def carry_out(self, effects: Effects, body: str) -> None:
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Become(session):
                    assert effect is effects[0]
                    self.session = session
                case Dispatch():
                    self.handed_on.append(body)
                    if REQUESTS[body].answered:
                        self.unanswered.append(body)
                case Hold():
                    self.held.append(body)
                case HandleHeld():
                    while self.held and self.session.take_held(10):
                        next_body = self.held.popleft()
                        self.carry_out(self.session.receive_held(next_body, self.now), next_body)
                    self.carry_out(self.session.resume_reading(), "")
                case StopReading():
                    assert self.reading
                    self.reading = False
                case ResumeReading():
                    assert not self.reading
                    self.reading = True
                case CheckHello():
                    self.opening = True
                case StoreSession():
                    self.stored = True
                case _:
                    pass

    def count(self, kind: type[object]) -> int:
        return sum(isinstance(effect, kind) for effect in self.effects)


def played(story: list[tuple[float, object]]) -> Shell:
    shell = Shell()
    for pause, step in story:
        shell.now += pause
        shell.do(step)
        assert len(shell.unanswered) <= POLICY.unanswered_max
        assert sum(REQUESTS[body].size is Size.PAGE for body in shell.unanswered) <= POLICY.pages_max
        assert shell.session.unanswered == len(shell.unanswered)
        if shell.session.phase is not Phase.CLOSING:
            assert shell.session.held == len(shell.held)
    return shell


@given(steps)
def test_there_is_one_goodbye_at_most_and_nothing_is_handed_on_after_it(story: list[tuple[float, object]]) -> None:
    shell = played([(0.0, FrameCame("hello")), (0.0, HelloAccepted(0)), (0.0, Opened()), *story])
    assert shell.count(SayGoodbye) <= 1
    kinds = [type(effect) for effect in shell.effects if not isinstance(effect, Become)]
    if SayGoodbye in kinds:
        after = set(kinds[kinds.index(SayGoodbye) + 1 :])
        assert after <= {Unregister, CloseSession, ResumeReading, Abort}


@given(steps)
def test_whoever_was_stored_is_closed_exactly_once_at_its_end(story: list[tuple[float, object]]) -> None:
    shell = played(story)
    if shell.stored:
        shell.do(Opened())
    if not shell.gone:
        shell.do(PeerGone())
    stored = shell.count(StoreSession)
    assert shell.count(CloseSession) == stored <= 1
    assert shell.count(Unregister) <= 1
    assert shell.count(Unregister) >= stored
    assert shell.session.due() == FOREVER


@given(steps)
def test_requests_are_handed_on_once_and_in_the_order_in_which_they_came(story: list[tuple[float, object]]) -> None:
    shell = Shell()
    came: list[str] = []
    for pause, step in [(0.0, FrameCame("hello")), (0.0, HelloAccepted(0)), (0.0, Opened()), *story]:
        shell.now += pause
        if isinstance(step, FrameCame) and shell.session.phase is Phase.OPEN and step.body in REQUESTS:
            came.append(step.body)
        shell.do(step)
    # Refused ones are missing: what was handed on is a subsequence of what came.
    rest = iter(came)
    assert all(body in rest for body in shell.handed_on)
    assert Counter(shell.handed_on) <= Counter(came)


@given(st.lists(st.sampled_from(["send", "read", "sync", "ping", "ack"]), max_size=60))
def test_when_everything_is_answered_nothing_is_held_and_reading_goes_on(bodies: list[str]) -> None:
    shell = played([(0.0, FrameCame("hello")), (0.0, HelloAccepted(0)), (0.0, Opened())])
    for body in bodies:
        shell.do(FrameCame(body, 10))
    for _ in range(2 * len(bodies)):
        shell.do("answer")
    assert not shell.held
    assert not shell.unanswered
    assert shell.reading
    assert shell.handed_on == bodies
