"""Who may speak and read where."""

from __future__ import annotations

import pytest

from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot
from services.logic.groups.permissions import check_read, check_send, check_signal, check_stream
from tidings_protocol.errors import Forbidden, NotFound


def group(*, channel: bool = False, large_from: int = 0) -> GroupSnapshot:
    members = {
        "olga": GroupMember("olga", GroupRole.OWNER, 1),
        "adam": GroupMember("adam", GroupRole.ADMIN, 1),
        "mia": GroupMember("mia", GroupRole.MEMBER, 7),
    }
    return GroupSnapshot("g:x", 3, members, 3, channel=channel, large_from=large_from)


def test_both_peers_send_to_their_direct_chat_and_nobody_else_does() -> None:
    check_send("d:amy|bob", "amy", None)
    check_send("d:amy|bob", "bob", None)
    with pytest.raises(Forbidden, match="of others"):
        check_send("d:amy|bob", "eve", None)


def test_one_may_write_to_oneself() -> None:
    check_send("d:amy|amy", "amy", None)


def test_no_user_sends_or_signals_to_everyone() -> None:
    with pytest.raises(Forbidden, match="operator"):
        check_send("b:all", "amy", None)
    with pytest.raises(Forbidden):
        check_signal("b:all", "amy", None)


def test_members_send_to_a_group_whatever_their_role() -> None:
    for user in ("olga", "adam", "mia"):
        check_send("g:x", user, group())


def test_who_is_no_member_does_not_send_to_a_group() -> None:
    with pytest.raises(Forbidden, match="not a member"):
        check_send("g:x", "eve", group())


def test_nobody_sends_to_a_group_that_does_not_exist() -> None:
    with pytest.raises(NotFound):
        check_send("g:x", "amy", None)


@pytest.mark.parametrize("user", ["olga", "adam"])
def test_owner_and_admins_send_to_a_channel(user: str) -> None:
    check_send("g:x", user, group(channel=True))
    check_signal("g:x", user, group(channel=True))


def test_a_member_neither_sends_nor_signals_to_a_channel() -> None:
    with pytest.raises(Forbidden, match="channel"):
        check_send("g:x", "mia", group(channel=True))
    with pytest.raises(Forbidden, match="channel"):
        check_signal("g:x", "mia", group(channel=True))


def test_a_large_group_takes_messages_but_no_signals() -> None:
    check_send("g:x", "mia", group(large_from=5))
    with pytest.raises(Forbidden, match="large"):
        check_signal("g:x", "mia", group(large_from=5))


def test_a_stranger_to_a_large_group_is_told_that_and_not_its_size() -> None:
    with pytest.raises(Forbidden, match="not a member"):
        check_signal("g:x", "eve", group(large_from=5))


def test_a_member_reads_a_group_from_where_they_may() -> None:
    assert check_read("g:x", "mia", group()) == 7


def test_who_is_no_member_does_not_read_a_group() -> None:
    with pytest.raises(Forbidden):
        check_read("g:x", "eve", group())


def test_peers_read_all_of_their_chat_and_a_stranger_nothing() -> None:
    assert check_read("d:amy|bob", "bob", None) == 0
    with pytest.raises(Forbidden):
        check_read("d:amy|bob", "eve", None)


def test_everyone_reads_the_notices_to_everyone() -> None:
    assert check_read("b:all", "eve", None) == 0


def test_a_text_grows_where_its_sender_may_send_but_in_no_large_group() -> None:
    check_stream("d:amy|bob", "amy", None, 0)
    check_stream("g:x", "mia", group(), 0)
    for conversation, user, there in (
        ("d:amy|bob", "eve", None),
        ("b:all", "amy", None),
        ("g:x", "eve", group()),
        ("g:x", "mia", group(channel=True)),
        ("g:x", "olga", group(large_from=9)),
    ):
        with pytest.raises(Forbidden):
            check_stream(conversation, user, there, 0)
