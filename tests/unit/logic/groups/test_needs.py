"""What is loaded before a group is decided about."""

from __future__ import annotations

import pytest

from services.logic.groups.model import GroupPolicy
from services.logic.groups.needs import Need, need_of, once
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest

Request = client_pb2.GroupRequest
POLICY = GroupPolicy(users_max=3, name_bytes_max=8)


def test_a_create_needs_nothing() -> None:
    assert need_of(Request(create=Request.Create(name="Tea", members=["amy"])), "olga", POLICY) is None


def test_who_asks_and_whom_it_concerns_are_loaded_once_each() -> None:
    add = Request(add=Request.Add(conversation="g:x", users=["amy", "olga", "amy"]))
    assert need_of(add, "olga", POLICY) == Need("g:x", ("olga", "amy"), bans=True, requests=True)
    assert once(["b", "a", "b"]) == ("b", "a")


def test_only_who_leaves_needs_a_successor() -> None:
    leave = need_of(Request(leave=Request.Leave(conversation="g:x")), "olga", POLICY)
    rename = need_of(Request(rename=Request.Rename(conversation="g:x", name="Tea")), "olga", POLICY)
    assert (leave, rename) == (Need("g:x", ("olga",), successor=True, requests=True), Need("g:x", ("olga",)))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request(), "no act"),
        (Request(join=Request.Join(conversation="d:amy|bob")), "give the id of a group"),
        (Request(add=Request.Add(conversation="g:x")), "name at least one user"),
        (Request(remove=Request.Remove(conversation="g:x", users=["a", "b", "c", "d"])), "use several requests"),
        (Request(rename=Request.Rename(conversation="g:x", name="a name too long")), "choose a shorter one"),
        (Request(set_role=Request.SetRole(conversation="g:x", user="amy")), "MEMBER, ADMIN or OWNER"),
    ],
)
def test_what_no_group_can_make_right_is_refused_with_what_to_do(request_: Request, text: str) -> None:
    with pytest.raises(BadRequest, match=text):
        need_of(request_, "olga", POLICY)
