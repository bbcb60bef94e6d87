"""Whose a connection is behind proxies, and how many new ones an address may make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.access.admission.addresses import AddressLimit, TrustedProxies, canonical, networks

PROXIES = TrustedProxies(networks(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]))
BALANCER = "10.1.2.3"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", ""),
        ("", ""),
        ("1.2.3.4.5", ""),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert canonical(text) == address


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # nobody whom we trust
        (BALANCER, ["198.51.100.1"], "198.51.100.1"),
        (BALANCER, ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the client itself claimed 6.6.6.6
        (BALANCER, ["6.6.6.6", "198.51.100.1, 192.0.2.7"], "198.51.100.1"),  # two proxies, two headers
        (BALANCER, ["[2001:db8::5]:443, fd00::1"], "2001:db8::5"),
        (BALANCER, ["198.51.100.1:5123"], "198.51.100.1"),
        (BALANCER, ["198.51.100.1, garbage"], BALANCER),
        (BALANCER, ["10.0.0.9, 10.0.0.8"], "10.0.0.9"),  # somebody inside
        (BALANCER, [""], BALANCER),
        (BALANCER, [], BALANCER),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy_of_ours(peer: str, forwarded_for: list[str], client: str) -> None:
    assert PROXIES.client_of(peer, forwarded_for, []) == client
    if forwarded_for and "\u0020" not in "".join(forwarded_for):
        written = [f'for="{entry}";proto=https' for entry in forwarded_for]
        assert PROXIES.client_of(peer, [], written) == client


def test_forwarded_counts_only_where_the_other_header_is_not() -> None:
    assert PROXIES.client_of(BALANCER, ["198.51.100.1"], ["for=6.6.6.6"]) == "198.51.100.1"
    assert PROXIES.client_of(BALANCER, [], ["For=6.6.6.6, for=198.51.100.1;by=_x"]) == "198.51.100.1"
    assert PROXIES.client_of(BALANCER, [], ["for=198.51.100.1;for=6.6.6.6"]) == BALANCER
    assert PROXIES.client_of(BALANCER, [], ["proto=https"]) == BALANCER


@given(st.lists(st.text(max_size=30), max_size=5), st.lists(st.text(max_size=30), max_size=5))
def test_whatever_the_headers_say_the_client_has_an_address(forwarded_for: list[str], forwarded: list[str]) -> None:
    assert canonical(PROXIES.client_of(BALANCER, forwarded_for, forwarded))
    assert PROXIES.client_of("203.0.113.9", forwarded_for, forwarded) == "203.0.113.9"


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8 is no network"):
        networks(["fd00::/8", "10.0.0.1/8"])


@pytest.mark.parametrize("per_s", [0.05, 0.5, 3.0])
def test_an_address_comes_in_at_its_rate_with_a_burst_and_others_feel_nothing(per_s: float) -> None:
    limit = AddressLimit(PROXIES, per_s)
    now, admitted = 1000.0, 0
    for step in range(4000):
        admitted += not limit.delay_s("198.51.100.1", now + step / 10)
    assert per_s * 400 <= admitted <= per_s * 411 + 1
    assert limit.delay_s("198.51.100.2", now + 400) == 0.0


def test_one_customer_of_version_6_has_one_limit() -> None:
    limit = AddressLimit(PROXIES, 0.1)
    assert limit.delay_s("2001:db8:1:2::1", 0.0) == 0.0
    assert limit.delay_s("2001:db8:1:2:ffff::9", 0.0) > 0
    assert limit.delay_s("2001:db8:1:3::1", 0.0) == 0.0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", BALANCER, "fd00::8", ""])
def test_what_is_everybodys_address_has_no_limit(address: str) -> None:
    limit = AddressLimit(PROXIES, 0.1)
    assert not any(limit.delay_s(address, 0.0) for _ in range(100))
    assert len(limit) == 0


def test_a_full_table_refuses_nobody_and_forgets_who_is_gone() -> None:
    limit = AddressLimit(PROXIES, 1.0, entries_max=10)
    for number in range(30):
        assert limit.delay_s(f"198.51.100.{number}", 100.0) == 0.0
    assert len(limit) == 10
    assert limit.delay_s("198.51.100.200", 200.0) == 0.0
    assert len(limit) == 1


def test_no_limit_is_0() -> None:
    limit = AddressLimit(PROXIES, 0.0)
    assert not any(limit.delay_s("198.51.100.1", 0.0) for _ in range(1000))
