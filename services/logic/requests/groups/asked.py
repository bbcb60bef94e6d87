"""The groups that requests are about, as who may read them is decided: on what storage says now, not on memory.

Guarantees: storage is asked once for a batch. What is wrong with a request stands in the place of its group.

Does not know: who may read.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import GroupPolicy, GroupSnapshot
from services.logic.groups.needs import Need, need_of
from services.logic.requests.request import ClientRequest
from tidings_protocol.errors import TidingsError


async def groups_of(
    requests: Sequence[ClientRequest], loader: GroupLoader, policy: GroupPolicy
) -> list[GroupSnapshot | TidingsError | None]:
    """The group of each request, with its asker, or what is wrong with the request; None: there is no such group."""
    needs = [need_in(request, policy) for request in requests]
    found = await loader.load_for(
        (need.conversation, user) for need in needs if isinstance(need, Need) for user in need.users
    )
    return [found[need.conversation] if isinstance(need, Need) else need for need in needs]


def need_in(request: ClientRequest, policy: GroupPolicy) -> Need | TidingsError:
    """What the answer rests on, or what is wrong with the request."""
    try:
        need = need_of(request.frame.group, request.user, policy)
    except TidingsError as error:
        return error
    assert need is not None
    return need
