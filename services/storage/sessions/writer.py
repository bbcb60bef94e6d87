"""Puts sessions where the ones before them are, and removes those that ended. Users come into being with their first.

    welcome who is new ─▶ decide (newest.py) by what is known ─▶ put ─▶ read what was in doubt, and again

Guarantees: a login of a user who is known is one write, with that of all others of its batch, and reads nothing. What
is known (known.py) says only where to put a session: what no put proves, such as a refusal, is decided by what the
repository says. After an unknown outcome nothing is known of the batch's users. An owner in whose place this node wrote
is told to forget.
Does not know: who is alive (each login says it), what a welcome needs besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.common.clock import Clock
from services.storage.limits import TRIES_MAX
from services.storage.memory.write_behind import WriteBehind
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.pages.lists import ConversationLists
from services.storage.repository.contract import Repository
from services.storage.repository.records import DeviceKey, MemberDocument, SessionDocument, SessionKey
from services.storage.sessions.known import KnownUsers
from services.storage.sessions.newest import Login, LoginDecision, Overtaken, decide_together
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import BROADCAST

# The sessions of each user of a batch.
Present = dict[str, Sequence[SessionDocument]]


@dataclass(slots=True)
class LoginResults:
    """What became of the logins of a batch, by their index; of one that is in neither, nobody knows."""

    opened: dict[int, SessionDocument] = field(default_factory=dict)
    refused: dict[int, TidingsError | Overtaken] = field(default_factory=dict)


class SessionWriter:
    def __init__(
        self,
        repository: Repository,
        lists: ConversationLists,
        known: KnownUsers,
        behind: WriteBehind,
        invalidation: OwnerInvalidation,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._lists = lists
        self._known = known
        self._behind = behind
        self._invalidation = invalidation
        self._clock = clock

    async def open(self, logins: Mapping[int, Login], results: LoginResults) -> None:
        """Begins sessions. Raises Unavailable for those that are not in the results then: they may be in."""
        users = dict.fromkeys(login.session.user for login in logins.values())
        moment = self._known.moment
        known = {user: sessions for user in users if (sessions := self._known.sessions_of(user)) is not None}
        try:
            await self._welcome([user for user in users if user not in known])
            present = await self._put_all(dict(logins), known, results)
        except BaseException:
            self._known.forget(users)
            raise
        for user, sessions in present.items():
            self._known.learn(user, sessions, moment)
        for session in results.opened.values():
            self._behind.is_back(session.user)
        self._invalidation.wrote_sessions(users)

    async def close(self, keys: Sequence[SessionKey]) -> None:
        """Ends just these sessions. Raises Unavailable: any of them may have ended."""
        users = dict.fromkeys(key.user for key in keys)
        try:
            await self._repository.sessions.remove(keys)
        except BaseException:
            self._known.forget(users)
            raise
        for key in keys:
            self._known.ended(key)
        now_ms = self._clock.wall_ms()
        for user in users:
            self._behind.seen(user, now_ms)
        self._invalidation.wrote_sessions(users)

    async def _welcome(self, users: Sequence[str]) -> None:
        """Users come into being, and b:all begins for them where it is now."""
        if not users:
            return
        found = await self._repository.users.find(users)
        new = [user for user in users if user not in found or not found[user].welcomed]
        if not new:
            return
        notices = (await self._lists.records([BROADCAST])).get(BROADCAST)
        head, now_ms = notices.head if notices is not None else 0, self._clock.wall_ms()
        await self._repository.members.write(
            [
                MemberDocument(BROADCAST, user, joined_ms=now_ms, read_seq=head, delivered_seq=head, large=True)
                for user in new
            ]
        )
        await self._repository.users.create(new, now_ms, welcomed=True)

    async def _put_all(
        self, logins: dict[int, Login], known: Mapping[str, Sequence[SessionDocument]], results: LoginResults
    ) -> Present:
        """Puts each session where the one before it is, as often as another one came between. Gives what is there."""
        present, read = dict(known), set[str]()
        for _ in range(TRIES_MAX):
            unread = {login.session.user for login in logins.values()} - present.keys()
            if unread:
                found = await self._repository.sessions.of_users(unread)
                present.update((user, found.get(user, ())) for user in unread)
                read |= unread
            decisions, doubtful = _decide(logins, present, read, results)
            done = await self._repository.sessions.put([each.put for each in decisions if each.put is not None])
            for decision, is_in in zip(decisions, done, strict=True):
                assert decision.put is not None
                session = decision.put.document
                if not is_in:
                    doubtful.add(session.user)
                    continue
                others = [each for each in present[session.user] if each.device != session.device]
                present[session.user] = [*others, session]
                _note(decision, logins, results)
            for user in doubtful:
                del present[user]
            if not logins:
                return present
        raise Unavailable("this device logs in too often at once: try again")


def _decide(
    logins: dict[int, Login], present: Present, read: set[str], results: LoginResults
) -> tuple[list[LoginDecision], set[str]]:
    """What to put, and the users of whom something has to be read first. The results are told what needs no put."""
    decisions: list[LoginDecision] = []
    doubtful: set[str] = set()
    new: dict[str, int] = {}  # devices of each user
    for (user, _), mine in _by_device(logins):
        decision = decide_together(mine, present[user], new.get(user, 0))
        if user not in read and not _is_proved_by_put(decision):
            doubtful.add(user)
        elif decision.put is None or decision.is_there:
            _note(decision, logins, results)
        else:
            decisions.append(decision)
            if not decision.put.expected:
                new[user] = new.get(user, 0) + 1
    return decisions, doubtful


def _is_proved_by_put(decision: LoginDecision) -> bool:
    """Whether all that was decided is right if the put finds the session that it expects. How many devices there are
    besides, it does not find out.
    """
    if decision.put is None or decision.is_there:
        return False
    return all(isinstance(error, Overtaken) for error in decision.refused.values())


def _note(decision: LoginDecision, logins: dict[int, Login], results: LoginResults) -> None:
    """These logins are done with."""
    for index, error in decision.refused.items():
        results.refused[index] = error
        del logins[index]
    for index in decision.opened:
        assert decision.put is not None
        results.opened[index] = decision.put.document
        del logins[index]


def _by_device(logins: Mapping[int, Login]) -> Iterable[tuple[DeviceKey, dict[int, Login]]]:
    devices: dict[DeviceKey, dict[int, Login]] = {}
    for index, login in logins.items():
        devices.setdefault(login.key, {})[index] = login
    return devices.items()
