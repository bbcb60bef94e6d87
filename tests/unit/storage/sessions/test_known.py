"""What a node knows of its users: bounded, only its own, and nothing that was read before something was forgotten."""

from __future__ import annotations

from services.storage.owners.peers import NoPeers
from services.storage.repository.records import SessionDocument, SessionKey
from services.storage.sessions.known import KnownUsers
from tests.unit.storage.nodes import FakePeers, Neighbourhood
from tidings_protocol.ids import slot_of

PHONE, WEB = SessionDocument("ann", "phone", "s1"), SessionDocument("ann", "web", "t1")


def known(sessions_max: int = 100) -> KnownUsers:
    return KnownUsers(NoPeers(), sessions_max)


def test_nothing_is_known_of_a_user_until_the_sessions_were_read() -> None:
    users = known()
    assert users.sessions_of("ann") is None
    users.learn("ann", [PHONE, WEB], users.moment)
    users.learn("bob", [], users.moment)
    assert (users.sessions_of("ann"), users.sessions_of("bob")) == ((PHONE, WEB), ())


def test_a_session_that_ended_is_not_among_them() -> None:
    users = known()
    users.learn("ann", [PHONE, WEB], users.moment)
    users.ended(SessionKey("ann", "phone", "s1"))
    users.ended(SessionKey("ann", "web", "another"))
    users.ended(SessionKey("zoe", "web", "t1"))
    assert (users.sessions_of("ann"), users.sessions_of("zoe")) == ((WEB,), None)


def test_what_was_read_before_something_was_forgotten_is_not_kept() -> None:
    users = known()
    users.learn("bob", [], users.moment)
    moment = users.moment
    users.forget(["ann"])
    users.learn("ann", [PHONE], moment)
    users.learn("bob", [], moment)
    assert (users.sessions_of("ann"), users.sessions_of("bob")) == (None, None)
    users.learn("ann", [PHONE], users.moment)
    users.drop_slots(frozenset({slot_of("ann")}))
    assert users.sessions_of("ann") is None


def test_users_of_other_nodes_are_not_known_also_when_they_were_this_ones_own_before() -> None:
    hood = Neighbourhood(lambda _: "one")
    one, two = KnownUsers(FakePeers(hood, "one"), 100), KnownUsers(FakePeers(hood, "two"), 100)
    for users in (one, two):
        users.learn("ann", [PHONE], users.moment)
    assert (len(one), len(two)) == (1, 0)
    hood.owner_of = lambda _: "two"
    assert one.sessions_of("ann") is None
    assert len(one) == 0


def test_those_who_logged_in_longest_ago_are_forgotten_first() -> None:
    users = known(sessions_max=4)
    for name in ("ann", "bob", "cid"):
        users.learn(name, [SessionDocument(name, "phone", "s1")], users.moment)
    assert [users.sessions_of(name) is not None for name in ("ann", "bob", "cid")] == [False, True, True]
