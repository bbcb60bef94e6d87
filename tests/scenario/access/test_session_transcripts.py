"""Transcripts of one connection's session: what happens on the left, what follows on the right.

Each file in `sessions/` holds several transcripts:

    == a title, which is a sentence
    policy unanswered_max=2                settings of the session, if not the usual ones
    0.0  frame hello           check-hello
    0.1  accepted web          store-session
    9.9  tick                  -           nothing follows
    9.9  due                   22.5        when the next tick is wanted

The words on the right are the effects, in order, separated by spaces; `goodbye(4500)` shows the code, `refuse(CODE)`
the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    AskedToLeave,
    Become,
    Effect,
    Effects,
    EndRequested,
    Event,
    FrameCame,
    FrameRefused,
    FrameTooLarge,
    HelloAccepted,
    Opened,
    PeerGone,
    Refreshed,
    Refuse,
    SayGoodbye,
    Ticked,
)
from services.access.session.handshaking import Handshaking
from services.access.session.heartbeat import FOREVER, HeartbeatPolicy
from services.access.session.limits import LimitPolicy
from services.access.session.session import Session, SessionPolicy
from tidings_protocol import client_pb2, close

FOLDER = Path(__file__).parent / "sessions"


@dataclass(frozen=True, slots=True)
class Transcript:
    title: str
    lines: tuple[tuple[int, str], ...]


def transcripts() -> Iterator[Transcript]:
    for path in sorted(FOLDER.glob("*.txt")):
        title, lines = "", list[tuple[int, str]]()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("== "):
                if title:
                    yield Transcript(title, tuple(lines))
                title, lines = f"{path.stem}: {line[3:]}", []
            elif line.strip() and not line.startswith("#"):
                lines.append((number, line))
        yield Transcript(title, tuple(lines))


@pytest.mark.parametrize("transcript", list(transcripts()), ids=lambda transcript: transcript.title)
def test_a_session_does_what_its_transcript_says(transcript: Transcript) -> None:
    policy = SessionPolicy(linger_s=1.0)
    machine: Machine | None = None
    for number, line in transcript.lines:
        words = line.split()
        if words[0] == "policy":
            policy = _policy(policy, words[1:])
            continue
        now = float(words[0])
        if machine is None:
            machine = Machine(Handshaking(policy, DeliveryState(), now))
        count = ARGUMENTS.get(words[1], 0)
        did, expected = words[1 : 2 + count], " ".join(words[2 + count :]) or "-"
        assert _play(machine, did, now) == expected, f"line {number}: {line}"


# How many words belong to an event.
ARGUMENTS = {"frame": 1, "accepted": 2, "leave": 1, "end": 1, "answer": 1, "held": 1, "refusal": 1, "push": 1, "ack": 1,
             "page": 2, "repeat": 2, "refreshed": 1}  # fmt: skip
KINDS = {"web": client_pb2.Hello.WEB, "mobile": client_pb2.Hello.MOBILE}


@dataclass
class Machine:
    """Goes from phase to phase, as the connection does."""

    session: Session

    def shown(self, effects: Effects) -> str:
        match effects:
            case [Become(session), *_]:
                self.session, effects = session, effects[1:]
        return " ".join(map(_name, effects)) or "-"


def _play(machine: Machine, did: list[str], now: float) -> str:
    session = machine.session
    match did:
        case ["due"]:
            due = session.due()
            return "never" if due == FOREVER else f"{due:g}"
        case ["push", number]:
            return "written" if session.delivery.push(int(number), now) else "dropped"
        case ["ack", number]:
            return "new" if session.delivery.acknowledge(int(number), now) else "known"
        case ["repeat", count, body]:
            shown = [machine.shown(machine.session.receive_frame(body, 10, now)) for _ in range(int(count))]
            return shown[-1]
        case ["idle"]:
            return "yes" if session.idle(now) else "no"
        case ["away"]:
            session.set_away(True)
            return "-"
        case ["hear"]:
            session.receive_part(0, now, alive=True)
            return "-"
        case _:
            return machine.shown(_effects(session, did, now))


def _effects(session: Session, did: list[str], now: float) -> Effects:  # noqa: C901 - one case for each event
    simple: dict[str, Event] = {"opened": Opened(), "tick": Ticked(), "gone": PeerGone(), "too-large": FrameTooLarge()}
    match did:
        case ["frame", body]:
            return session.handle(FrameCame(body, 10), now)
        case ["bad-frame"]:
            return session.handle(FrameRefused("a field is unknown"), now)
        case ["no-frame"]:
            return session.handle(FrameRefused("this is nothing", fatal=True), now)
        case ["accepted", kind, expires]:
            return session.handle(HelloAccepted(KINDS[kind], float(expires.removeprefix("until="))), now)
        case ["refreshed", expires]:
            return session.handle(Refreshed(float(expires.removeprefix("until="))), now)
        case ["leave", code]:
            return session.handle(AskedToLeave(close.reason_of(int(code))), now)
        case ["end", code]:
            return session.handle(EndRequested(close.reason_of(int(code))), now)
        case ["answer", body]:
            return session.answer(body, now)
        case ["held", body]:
            return session.receive_held(body, now) if session.take_held(10) else ()
        case ["resume"]:
            return session.resume_reading()
        case ["refusal", code]:
            return session.count_refusal(code, now)
        case ["block"]:
            return session.block()
        case ["unblock"]:
            return session.unblock()
        case ["page", head, more]:
            return session.page_written(int(head), more=more == "more")
        case [event]:
            return session.handle(simple[event], now)
        case _:
            raise AssertionError(f"no such event: {did}")


def _name(effect: Effect) -> str:
    match effect:
        case SayGoodbye(reason=reason):
            return f"goodbye({reason.code if reason else 1000})"
        case Refuse(code=code):
            return f"refuse({code})"
        case _:
            name = type(effect).__name__
            return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _policy(policy: SessionPolicy, words: list[str]) -> SessionPolicy:
    given: dict[str, Any]
    for word in words:
        name, _, value = word.partition("=")
        given = {name: int(value) if value.isdigit() else float(value)}
        if name in HeartbeatPolicy.__dataclass_fields__:
            policy = replace(policy, heartbeat=replace(policy.heartbeat, **given))
        elif name in LimitPolicy.__dataclass_fields__:
            policy = replace(policy, limits=replace(policy.limits, **given))
        else:
            policy = replace(policy, **given)
    return policy
