"""What is special about a send, as it may be stored."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1.common_pb2 import Special
from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot
from services.logic.messages.specials import special_for
from tidings_protocol.errors import BadRequest, Forbidden


def group(count: int, role: GroupRole = GroupRole.MEMBER, large_from: int = 0) -> GroupSnapshot:
    """A group of so many, of which amy is one."""
    return GroupSnapshot("g:x", 1, {"amy": GroupMember("amy", role)}, count, large_from=large_from)


@pytest.mark.parametrize("role", [GroupRole.OWNER, GroupRole.ADMIN])
def test_owner_and_admins_mention_all_in_a_group_of_any_size_and_members_in_a_small_one(role: GroupRole) -> None:
    special = Special(mention_all=True)
    assert special_for(special, "g:x", "amy", group(20)).mention_all
    assert special_for(special, "g:x", "amy", group(10_000, role)).mention_all
    assert special_for(special, "d:amy|bob", "amy", None).mention_all
    with pytest.raises(Forbidden, match="mention all"):
        special_for(special, "g:x", "amy", group(21))


def test_to_mention_all_of_very_many_is_text_only() -> None:
    special = Special(mention_all=True, mentions=["bob"], expire_after_s=5)
    narrowed = special_for(special, "g:x", "amy", group(10_001, GroupRole.OWNER, large_from=3))
    assert narrowed == Special(mentions=["bob"], expire_after_s=5)
    assert special.mention_all, "what was asked for stays as it was"


@pytest.mark.parametrize("conversation", ["g:x", "b:all"])
def test_there_are_no_streams_where_members_read_by_cursor(conversation: str) -> None:
    snapshot = group(300, large_from=3) if conversation == "g:x" else None
    with pytest.raises(Forbidden, match="no streams"):
        special_for(Special(streaming=True), conversation, "amy", snapshot)


def test_streams_and_messages_that_expire_are_stored_as_they_are_elsewhere() -> None:
    special = Special(streaming=True, expire_after_s=9)
    assert special_for(special, "g:x", "amy", group(200)) is special
    assert special_for(special, "d:amy|bob", "amy", None) is special


def test_media_that_were_not_uploaded_are_refused() -> None:
    with pytest.raises(BadRequest, match="'m1' was not uploaded"):
        special_for(Special(media=["m1"]), "d:amy|bob", "amy", None)
