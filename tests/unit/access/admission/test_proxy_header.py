"""The PROXY protocol: versions 1 and 2, whole, cut, wrong."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.access.admission.proxy_header import (
    HEADER_BYTES_MAX,
    VERSION_1,
    VERSION_2,
    BadProxyHeader,
    ProxyHeader,
    may_be_header,
    read_header,
)
from tests.support.network.proxy_header import version_1, version_2


@given(
    source=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    rest=st.binary(max_size=40),
    more=st.binary(max_size=60),
    second=st.booleans(),
)
def test_a_header_gives_the_address_however_it_is_cut(
    source: IPv4Address | IPv6Address, rest: bytes, more: bytes, second: bool
) -> None:
    header = version_2(source, more=more) if second else version_1(source)
    assert read_header(header + rest) == ProxyHeader(str(source), len(header))
    for end in range(len(header)):
        assert may_be_header(header[:end])
        assert read_header(header[:end]) is None


@given(st.sampled_from([b"", VERSION_1, VERSION_2]), st.binary(max_size=200))
def test_anything_at_all_is_a_header_or_refused_or_not_whole(start: bytes, rest: bytes) -> None:
    data = start + rest
    try:
        header = read_header(data)
    except BadProxyHeader:
        return
    assert may_be_header(data)
    if header is None:
        assert len(data) < HEADER_BYTES_MAX
    else:
        assert header.size <= len(data)


def test_a_balancer_that_speaks_for_itself_says_nothing_of_a_client() -> None:
    assert read_header(b"PROXY UNKNOWN\r\nGET") == ProxyHeader("", 15)
    assert read_header(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n") == ProxyHeader("", 35)
    local = version_2(IPv4Address("192.0.2.1"), command=0)
    assert read_header(local) == ProxyHeader("", len(local))
    socket_of_a_file = VERSION_2 + b"\x21\x31\x00\xd8" + bytes(216)
    assert read_header(socket_of_a_file) == ProxyHeader("", len(socket_of_a_file))


@pytest.mark.parametrize(
    "wrong",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 70000\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n",
        b"PROXY " + b"x" * 101,
        VERSION_2 + b"\x31\x11\x00\x0c" + bytes(12),
        VERSION_2 + b"\x22\x11\x00\x0c" + bytes(12),
        VERSION_2 + b"\x21\x11\x00\x0b" + bytes(11),
        VERSION_2 + b"\x21\x11\xff\xff",
    ],
)
def test_what_begins_like_a_header_and_is_none_is_refused(wrong: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        read_header(wrong)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"\x16\x03\x01", b"\x00\x00\x00\x05", b"PROXX", b"\r\n\r\n\x01"])
def test_what_clients_begin_with_is_no_header(data: bytes) -> None:
    assert not may_be_header(data)
