"""The wheel against a plain list; visits against what the owners know; acknowledgements against the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.access.delivery.forwarding_table import ForwardingTable
from services.access.placement.visits import Visits
from services.access.session.delivery_state import DeliveryState
from services.access.session.heartbeat import TimingWheel
from services.common.registry.contract import NodeIncarnation

TICK_S = 0.25


class Entry:
    def __init__(self) -> None:
        self.wheel_tick = 0
        self.due: float | None = None
        self.far = False  # further away than a turn: woken once a turn


@given(
    st.lists(
        st.tuples(st.sampled_from(["schedule", "discard", "advance"]), st.integers(0, 4), st.floats(0, 400)),
        max_size=60,
    )
)
def test_the_wheel_wakes_everybody_in_time_and_nobody_early(steps: list[tuple[str, int, float]]) -> None:
    now = 1000.0
    wheel: TimingWheel[Entry] = TimingWheel(now, tick_s=TICK_S, places=64)
    entries = [Entry() for _ in range(5)]
    for step, which, amount in steps:
        entry = entries[which]
        if step == "schedule":
            due = now + amount
            wheel.schedule(entry, due)
            entry.due = due if entry.due is None else min(entry.due, due)
            entry.far = entry.due - now > 60 * TICK_S
        elif step == "discard":
            wheel.discard(entry)
            entry.due = None
        else:
            now += min(amount, 10.0)
            for woken in wheel.advance(now):
                assert woken.due is not None
                assert woken.due <= now or woken.far
                if woken.due <= now:
                    woken.due = None
                else:
                    wheel.schedule(woken, woken.due)
                    woken.far = woken.due - now > 60 * TICK_S
            assert all(other.due is None or other.due > now - 2 * TICK_S for other in entries)
    assert len(wheel) == sum(entry.due is not None for entry in entries)


NODES = [NodeIncarnation(f"access-{number}", f"boot-{number}") for number in range(3)]
USERS = ["a", "b", "c"]
visit_steps = st.lists(
    st.tuples(
        st.sampled_from(["want", "leave", "settle", "settle", "fail", "restart"]),
        st.sampled_from(USERS),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(visit_steps)
def test_after_a_last_look_the_owners_know_exactly_their_visitors(  # noqa: C901 - a small model
    steps: list[tuple[str, str, int]],
) -> None:
    me = NodeIncarnation("me", "boot-me")
    visits = Visits()
    boots = list(NODES)
    tables = {host: ForwardingTable() for host in boots}
    wanted: dict[str, NodeIncarnation] = {}

    def settle(failing: NodeIncarnation | None) -> None:
        for owner, users in visits.arrivals(USERS, wanted.get).items():
            if owner != failing:
                tables[owner].add(me, users)
                visits.confirm(owner, users)
        for owner, users in visits.departures(USERS, wanted.get).items():
            if owner != failing and owner in tables:
                tables[owner].remove(me, users)
                visits.released(owner, users)

    for step, user, number in steps:
        match step:
            case "want":
                wanted[user] = boots[number]
            case "leave":
                wanted.pop(user, None)
            case "settle":
                settle(None)
            case "fail":
                settle(boots[number])
            case _:
                old = boots[number]
                boots[number] = NodeIncarnation(old.node, old.boot_id + "+")
                del tables[old]
                tables[boots[number]] = ForwardingTable()
                for name, host in list(wanted.items()):
                    if host == old:
                        wanted[name] = boots[number]
                visits.forget(lambda boot: any(host.boot_id == boot for host in boots))
    settle(None)
    for owner, known in tables.items():
        assert {user for user in USERS if known.nodes_of(user)} == {
            user for user, host in wanted.items() if host == owner
        }
    assert visits.due(USERS, wanted.get) == []


outbox_steps = st.lists(
    st.tuples(st.sampled_from(["push", "ack", "block", "unblock", "page", "check"]), st.integers(0, 20), st.booleans()),
    max_size=60,
)


@given(outbox_steps)
def test_what_a_paused_client_missed_is_always_told_or_in_a_page(  # noqa: C901 - a small model
    steps: list[tuple[str, int, bool]],
) -> None:
    """At any time that it is live: every number that was dropped is covered by a page, or by a nudge."""
    outbox = DeliveryState()
    covered = dropped = told = pauses = 0
    now = 0.0
    for step, number, flag in steps:
        now += 1.0
        before = outbox.shown
        match step:
            case "push":
                if not outbox.push(number, now):
                    assert outbox.paused
                    dropped = max(dropped, number)
            case "ack":
                outbox.acknowledge(number, now)
            case "block":
                if outbox.block():
                    pauses += 1
                assert outbox.paused
            case "unblock":
                if outbox.unblock() and outbox.missed:
                    told = outbox.nudge_head()
            case "page":
                covered = max(covered, number)
                if outbox.page_written(number, more=flag) and outbox.missed:
                    told = outbox.nudge_head()
            case _:
                if outbox.check(now, 10.0):
                    assert not outbox.check(now, 10.0)
        assert outbox.shown >= before
        if not outbox.paused and dropped:
            assert max(outbox.shown, covered, told) >= dropped
