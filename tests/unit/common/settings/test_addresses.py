"""Addresses: split and joined, and which of them are every address of a machine."""

from __future__ import annotations

import pytest

from services.common.settings.addresses import join_address, means_every, split_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("127.0.0.1:8300", "127.0.0.1", 8300), ("[::1]:0", "::1", 0), ("node.example:65535", "node.example", 65535)],
)
def test_an_address_is_a_host_and_a_port_and_back(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
    assert join_address(host, port) == address


@pytest.mark.parametrize("address", ["", "h", ":1", "h:", "h:x", "h:65536", "::1:8300", "[h]:1", "h:+1", "h:٣"])
def test_what_is_none_says_what_is_wrong(address: str) -> None:
    with pytest.raises(ValueError, match="should "):
        split_address(address)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "::ffff:0.0.0.0"])
def test_some_hosts_mean_every_address(host: str) -> None:
    assert means_every(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "1"])
def test_others_do_not(host: str) -> None:
    assert not means_every(host)
