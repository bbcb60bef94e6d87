"""Profiles are checked where they come in."""

from __future__ import annotations

import pytest

from tidings_protocol.client_pb2 import Profile
from tidings_protocol.errors import BadRequest, TooLarge
from tidings_protocol.profile import check_avatar, check_profile


def test_what_is_just_allowed() -> None:
    check_profile(Profile())
    check_profile(
        Profile(
            name="ü" * 128,
            avatar="https://a.example/" + "x" * (2048 - 18),
            attributes={f"{n:02}": "x" * 254 for n in range(16)},
        )
    )


@pytest.mark.parametrize(
    "profile", [Profile(name="x" * 257), Profile(avatar="https://a.example/" + "x" * 2031), Profile(avatar="id")]
)
def test_what_is_wrong_is_refused(profile: Profile) -> None:
    with pytest.raises(BadRequest):
        check_profile(profile)


@pytest.mark.parametrize(
    "profile",
    [
        Profile(attributes={f"k{n}": "" for n in range(17)}),
        Profile(attributes={"k": "x" * 4096}),
        Profile(attributes={"ü" * 1024: "ü" * 1025}),
    ],
)
def test_too_many_attributes_are_refused(profile: Profile) -> None:
    with pytest.raises(TooLarge):
        check_profile(profile)


@pytest.mark.parametrize("avatar", ["https://a.example", "HTTPS://a.example:8443/b?c=d#e", "https://[2001:db8::1]/x"])
def test_an_avatar_is_an_https_url(avatar: str) -> None:
    check_avatar(avatar)


@pytest.mark.parametrize(
    "avatar",
    [
        "http://a.example/b",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https:",
        "https://",
        "https:///b",
        "//a.example/b",
        " https://a.example",
        "https://a.example/b c",
        "https://a.example/\nb",
        "https://a.example:x/",
        "https://[/",
        "0123456789abcdef01234567",
    ],
)
def test_whatever_else_there_is_is_none(avatar: str) -> None:
    with pytest.raises(BadRequest):
        check_avatar(avatar)
