"""The groups that requests are about."""

from __future__ import annotations

from services.logic.groups.model import GroupSnapshot
from services.logic.requests.groups.asked import groups_of
from services.logic.requests.request import ClientRequest
from tests.unit.logic.harness import POLICY, logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest

Request = client_pb2.GroupRequest


def asked(conversation: str) -> ClientRequest:
    request = Request(members=Request.Members(conversation=conversation))
    return ClientRequest("amy", "amy-session", client_pb2.ClientFrame(group=request))


async def test_each_request_has_its_group_or_what_is_wrong_with_it_in_its_place() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob")
        requests = [asked("g:x"), asked("d:amy|bob"), asked("g:none"), asked("g:x")]
        found, wrong, none, again = await groups_of(requests, node.loader, POLICY)
    assert isinstance(found, GroupSnapshot)
    assert (found.conversation, set(found.members)) == ("g:x", {"amy", "bob"})
    assert isinstance(wrong, BadRequest)
    assert none is None
    assert again == found
