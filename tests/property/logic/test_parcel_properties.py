"""Every recipient with an owner gets every push once, in order, whatever the sizes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import delivery_pb2
from services.common.ring import Ring
from services.logic.publishing.message_columns import OutgoingMessages
from services.logic.publishing.parcels import MailboxAddress, OutgoingPush, build_parcels
from tests.unit.logic.harness import all_pushes

users = st.lists(st.sampled_from([f"user{number}" for number in range(12)]), unique=True, max_size=12)
pushes = st.lists(st.tuples(users, st.integers(0, 300), st.booleans()), max_size=20)
# How many of the pushes that follow, if they have users and numbers, come together as columns.
together = st.lists(st.integers(0, 6), max_size=20)


@given(pushes, together, st.integers(0, 4), st.sampled_from([200, 1000, 100_000]))
def test_nothing_is_lost_doubled_or_reordered(
    script: list[tuple[list[str], int, bool]], columns: list[int], nodes: int, bytes_max: int
) -> None:
    ring = Ring.build({f"access-{number}": 1.0 for number in range(nodes)})
    mailboxes = {f"access-{number}": MailboxAddress(f"access-{number}", "boot", number) for number in range(nodes)}
    outgoing = [
        OutgoingPush(
            delivery_pb2.Push.MESSAGE,
            seq.to_bytes(2, "big") + bytes(size),
            recipients,
            [seq + 1] * len(recipients) if numbered else [],
            conversation="g:x",
        )
        for seq, (recipients, size, numbered) in enumerate(script)
    ]
    routed = build_parcels(
        _some_as_columns(outgoing, columns),
        ring.owner_of,
        mailboxes,
        broadcast_partitions=3,
        parcel_bytes_max=bytes_max,
        sole_owner="access-0" if nodes == 1 else None,
    )

    got: dict[str, list[tuple[int, int]]] = {}
    broadcast: list[int] = []
    for posted in routed.parcels:
        parcel = delivery_pb2.Parcel.FromString(posted.value)
        for push in all_pushes(parcel):
            if posted.broadcast:
                broadcast.append(_place(push.body))
            numbers = push.numbers or [0] * len(push.users)
            for user, number in zip(push.users, numbers, strict=True):
                assert ring.owner_of(user) == parcel.node
                got.setdefault(user, []).append((_place(push.body), number))

    wanted: dict[str, list[tuple[int, int]]] = {}
    for item in outgoing:
        for index, user in enumerate(item.users):
            wanted.setdefault(user, []).append((_place(item.body), item.numbers[index] if item.numbers else 0))
    assert got == (wanted if nodes else {})
    assert routed.unowned == (0 if nodes else sum(len(item.users) for item in outgoing))
    assert broadcast == [_place(item.body) for item in outgoing if not item.users]


def _some_as_columns(pushes: list[OutgoingPush], columns: list[int]) -> Iterator[OutgoingPush | OutgoingMessages]:
    rest, sizes = deque(pushes), deque(columns)
    while rest:
        run: list[OutgoingPush] = []
        size = sizes.popleft() if sizes else 0
        while rest and len(run) < size and rest[0].users and rest[0].numbers:
            run.append(rest.popleft())
        if run:
            yield OutgoingMessages(
                [push.body for push in run],
                [len(push.users) for push in run],
                [user for push in run for user in push.users],
                [number for push in run for number in push.numbers],
                [push.except_session for push in run],
                [push.accepted_ms for push in run],
                [],
            )
        elif rest:
            yield rest.popleft()


def _place(body: bytes) -> int:
    """The place of a push in the script."""
    return int.from_bytes(body[:2], "big")
