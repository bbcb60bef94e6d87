"""Which of a device's logins is the newest: decided here, and nowhere else. Pure.

The device says it itself: `attempt` is a number that it raises with each login, a fencing token. Of two logins that
began within a minute the one with the higher attempt is the newer, whichever comes first; an opening that is handled
late, ten minutes at most, is still known as the older one. Where one of the two has no attempt, or a minute later,
arrival decides: a device that has lost its number waits for a minute, and a clock that is wrong keeps nobody out.

Guarantees: of any number of openings of one device, in any order and however often each is repeated, one is in. An
opening that was overtaken is told so: by its attempt, or because it is among those that the present one has replaced.
The newest one is told whom it replaced, and also who was replaced in the minute before that, since whoever did it may
have ended before it could tell them. A session that is stored `again` takes no live one's place.

Does not know: databases, connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.storage.repository.records import DeviceKey, ReplacedSession, SessionDocument, SessionPut
from tidings_protocol.errors import Overloaded, TidingsError

# Within this time two logins of one device are ordered by their attempts, and who was replaced is remembered.
ATTEMPT_MS: Final = 60_000
# An opening that is handled so long after it began is still known as the older one.
LATE_MS: Final = 600_000
# Of one device within a minute: access nodes ban those that log in more often.
REPLACED_MAX: Final = 64
TOO_MANY_DEVICES_RETRY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Login:
    """A session that begins; `live` are the boots that the asker's registry says are alive. `again`: it began long ago,
    and its record is gone. `groups`: the asker wants to know in which of these the user is no member.
    """

    session: SessionDocument
    devices_max: int
    live: frozenset[str] = field(repr=False)
    cursor: int = 0
    again: bool = False
    groups: tuple[str, ...] = ()

    @property
    def key(self) -> DeviceKey:
        return self.session.user, self.session.device


class Overtaken(Exception):
    """A newer session of the same device is there."""

    def __init__(self, newer: SessionDocument) -> None:
        super().__init__(newer.session)
        self.newer = newer


@dataclass(slots=True)
class LoginDecision:
    """What becomes of the logins of one device that are handled together: those of the newest session, what to put for
    it (None: all are refused; `is_there`: it need not be); and why the rest is refused.
    """

    opened: list[int] = field(default_factory=list)
    put: SessionPut | None = None
    is_there: bool = False
    refused: dict[int, TidingsError | Overtaken] = field(default_factory=dict)


def decide_together(works: Mapping[int, Login], sessions: Sequence[SessionDocument], opening: int) -> LoginDecision:
    """Decides as if they came one after the other, but only the newest of them is ever stored: a device that logs in
    thirty times at once costs others one write. `opening`: as in `decide`.
    """
    verdict, present = LoginDecision(), list(sessions)
    for index, work in works.items():
        try:
            put = decide(work, present, opening)
        except (TidingsError, Overtaken) as error:
            verdict.refused[index] = error
            continue
        if verdict.put is not None and verdict.put.document.session != put.document.session:
            verdict.refused.update((older, Overtaken(put.document)) for older in verdict.opened)
            verdict.opened.clear()
        verdict.opened.append(index)
        verdict.put = SessionPut(put.document, put.expected if verdict.put is None else verdict.put.expected)
        present = [each for each in present if each.device != work.session.device] + [put.document]
    verdict.is_there = verdict.put is not None and verdict.put.document in sessions
    return verdict


def decide(work: Login, sessions: Sequence[SessionDocument], opening: int) -> SessionPut:
    """What to put where. `opening`: more devices of the user in this batch. Raises Overtaken, Overloaded."""
    session = work.session
    before = next((each for each in sessions if each.device == session.device), None)
    if before is not None and before.session == session.session:
        return SessionPut(before, before.session)  # a repeat
    is_new = before is None or before.boot_id not in work.live
    if before is not None and (not is_new if work.again else _is_older(session, before)):
        raise Overtaken(before)
    others = sum(each.device != session.device and each.boot_id in work.live for each in sessions)
    if work.devices_max and is_new and not work.again and others + opening >= work.devices_max:
        raise Overloaded(
            f"{work.devices_max} devices of this user are connected already: close one, or try later",
            TOO_MANY_DEVICES_RETRY_MS,
        )
    if before is None:
        return SessionPut(session, "")
    replaced = () if work.again else _replaced(session, before)
    return SessionPut(replace(session, replaced=replaced), before.session)


def _is_older(session: SessionDocument, present: SessionDocument) -> bool:
    if any(each.session == session.session for each in present.replaced):
        return True
    if not session.attempt or not present.attempt:
        return False
    return session.attempt < present.attempt and -LATE_MS <= session.since_ms - present.since_ms <= ATTEMPT_MS


def _replaced(session: SessionDocument, before: SessionDocument) -> tuple[ReplacedSession, ...]:
    """The session before, and those whose end it may not have lived to see."""
    last = ReplacedSession(before.session, before.node, before.boot_id)
    is_close = abs(session.since_ms - before.since_ms) <= ATTEMPT_MS
    return (last, *(before.replaced if is_close else ()))[:REPLACED_MAX]
