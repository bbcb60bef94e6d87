"""`hide` requests: a user hides messages for themselves, on all their devices.

Guarantees: a reply for each request, in their order; `ok` is durable. Storage is asked once for the groups of a batch
and once for each owner of its conversations. Only who may read a conversation hides in it. The user's other devices are
told what was taken before it is answered, also of a repeat, whose first try may have told nobody; who is away finds it
in lists and pages.

Does not know: what becomes of what is hidden (storage leaves it out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.permissions import check_read
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.requests.request import ClientRequest, Handler, Reply, ok_reply, passing
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import check_conversation

SEQS_MAX = 200


class MessageHider:
    """Answers batches of `hide` requests."""

    def __init__(self, storage: StorageClient, loader: GroupLoader, publisher: Publisher) -> None:
        self._storage = storage
        self._loader = loader
        self._publisher = publisher

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"hide": self.hide}

    async def hide(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Hides what each request names; an error where the request is wrong or not allowed."""
        replies: list[Reply] = [ok_reply()] * len(requests)
        checked = passing(requests, replies, lambda request: _check_shape(request.frame.hide))
        groups = await self._loader.load_for(
            (requests[index].frame.hide.conversation, requests[index].user) for index in checked
        )
        items = passing(requests, replies, lambda request: _item(request, groups), checked)
        outcomes = await self._storage.hide(list(items.values()))
        pushes: list[OutgoingPush] = []
        for index, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                replies[index] = outcome
            elif outcome.seqs or outcome.through:
                pushes.append(_push(requests[index], outcome))
        if pushes:
            await self._publisher.publish(Publication(pushes))
        return replies


def _check_shape(hide: client_pb2.Hide) -> None:
    check_conversation(hide.conversation)
    if len(hide.seqs) > SEQS_MAX:
        raise BadRequest(f"{len(hide.seqs)} messages at once, at most {SEQS_MAX} are allowed: use several requests")
    if not hide.seqs and not hide.through:
        raise BadRequest("the request names no message: give `seqs`, or `through` to hide all up to there")


def _item(request: ClientRequest, groups: FoundGroups) -> pb.HideItem:
    """What storage is asked for; raises what forbids it."""
    hide = request.frame.hide
    check_read(hide.conversation, request.user, group_in(groups, hide.conversation))
    return pb.HideItem(conversation=hide.conversation, user=request.user, seqs=hide.seqs, through=hide.through)


def _push(request: ClientRequest, outcome: pb.HideOutcome) -> OutgoingPush:
    """What the user's other devices are told."""
    conversation = request.frame.hide.conversation
    hidden = client_pb2.Hidden(conversation=conversation, seqs=outcome.seqs, through=outcome.through)
    return OutgoingPush(
        kind=delivery_pb2.Push.HIDDEN,
        body=hidden.SerializeToString(),
        users=(request.user,),
        conversation=conversation,
        except_session=request.session,
        trace=request.trace,
    )
