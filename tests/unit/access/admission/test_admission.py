"""Who is let in."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.access.admission.addresses import AddressLimit, TrustedProxies
from services.access.admission.admission import Admission, EarlyBytes, FrontDoor
from services.common.clock import ManualClock
from services.common.telemetry import metrics
from tidings_protocol.ids import check_user


def test_connections_are_let_in_at_a_rate_and_told_when_to_come_back() -> None:
    admission = Admission(per_s=5, handshakes_max=100)
    assert [admission.delay_s(0, 10.0) for _ in range(5)] == [0.0] * 5
    assert admission.delay_s(0, 10.0) >= 1.0
    assert admission.delay_s(0, 10.2) == 0.0


def test_too_many_at_once_that_have_no_session_are_told_to_wait() -> None:
    admission = Admission(per_s=0, handshakes_max=2)
    assert admission.delay_s(2, 1.0) == 1.0
    assert admission.delay_s(1, 1.0) == 0.0


@pytest.mark.parametrize("rate", [0.05, 0.4, 0.999])
def test_a_rate_below_one_a_second_lets_one_in_and_then_the_next_in_time(rate: float) -> None:
    admission = Admission(per_s=rate, handshakes_max=100)
    assert admission.delay_s(0, 5.0) == 0.0
    assert admission.delay_s(0, 5.0) == pytest.approx(max(1.0, 1 / rate))
    assert admission.delay_s(0, 5.0 + 1 / rate) == 0.0


class Arrival:
    """An accepted socket."""


def test_an_arrival_has_a_place_until_it_is_released_or_forgotten() -> None:
    admission = Admission(per_s=0, handshakes_max=2)
    one, two = Arrival(), Arrival()
    assert admission.reserve(one, 0)
    assert admission.reserve(two, 0)
    assert not admission.reserve(Arrival(), 0)
    assert admission.delay_s(0, 1.0) == 1.0
    admission.release(one)
    assert admission.under_way(0) == 1
    assert not admission.reserve(Arrival(), 1), "connections without a session have places too"
    del two
    assert admission.under_way(0) == 0


def test_what_all_hold_together_is_bounded_and_given_back() -> None:
    early = EarlyBytes(10)
    assert early.hold(6)
    assert not early.hold(5)
    assert early.held == 6, "what was too much does not count"
    early.give_back(6)
    assert early.hold(10)


@dataclass
class Inside:
    accepting: bool = True
    handshakes: int = 0
    count: int = 0

    def __len__(self) -> int:
        return self.count


class House:
    """A door, and what is behind it."""

    def __init__(self, *, per_s: float = 0, address_per_s: float = 0, connections_max: int = 10) -> None:
        self.inside, self.clock = Inside(), ManualClock()
        self.door = FrontDoor(
            self.inside,
            Admission(per_s=per_s, handshakes_max=2),
            AddressLimit(TrustedProxies(), address_per_s),
            EarlyBytes(10),
            self.clock,
            connections_max=connections_max,
            route=lambda user: {"user": check_user(user)},
        )


def refused(reason: str) -> float:
    return float(metrics.CONNECTIONS_REFUSED.labels(reason)._value.get())


def test_who_comes_in_is_not_counted_as_refused() -> None:
    house = House()
    assert house.door.admission_delay_s("192.0.2.1") == 0.0
    assert house.door.route("ann") == {"user": "ann"}


@pytest.mark.parametrize(("reason", "accepting", "count"), [("draining", False, 0), ("full", True, 10)])
def test_a_node_that_leaves_or_is_full_takes_nobody_and_says_which(reason: str, accepting: bool, count: int) -> None:
    house = House()
    house.inside.accepting, house.inside.count = accepting, count
    before = refused(reason)
    assert house.door.admission_delay_s("192.0.2.1") == 1.0
    assert refused(reason) == before + 1


def test_the_rate_of_all_and_that_of_an_address_are_counted_apart() -> None:
    house = House(per_s=1)
    before = refused("rate")
    assert house.door.admission_delay_s("192.0.2.1") == 0.0
    assert house.door.admission_delay_s("192.0.2.2") >= 1.0
    assert refused("rate") == before + 1
    house, before = House(address_per_s=0.1), refused("address")
    assert house.door.admission_delay_s("192.0.2.1") == 0.0
    assert house.door.admission_delay_s("192.0.2.1") >= 1.0
    assert house.door.admission_delay_s("192.0.2.2") == 0.0
    assert refused("address") == before + 1


def test_sockets_and_connections_without_a_session_share_their_places() -> None:
    house = House()
    house.inside.handshakes = 1
    arrival, before = Arrival(), refused("handshakes")
    assert house.door.reserve(arrival)
    assert house.door.under_way() == 2
    assert not house.door.reserve(Arrival())
    assert refused("handshakes") == before + 1
    house.door.release(arrival)
    assert house.door.under_way() == 1
