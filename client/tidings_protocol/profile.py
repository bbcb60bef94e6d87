"""The shape of a profile, and of what else has an avatar.

Guarantees: pure. Does not know: whose profile may be set by whom, which media there are.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TooLarge

NAME_BYTES_MAX: Final = 256
AVATAR_BYTES_MAX: Final = 2048
ATTRIBUTES_MAX: Final = 16
ATTRIBUTES_BYTES_MAX: Final = 4096


def check_profile(profile: client_pb2.Profile) -> None:
    """BadRequest for a name that is too long, or an avatar that is none; TooLarge for too many attributes."""
    if len(profile.name.encode()) > NAME_BYTES_MAX:
        raise BadRequest(f"a name may have at most {NAME_BYTES_MAX} bytes: choose a shorter one")
    check_avatar(profile.avatar)
    if len(profile.attributes) > ATTRIBUTES_MAX:
        raise TooLarge(f"there are {len(profile.attributes)} attributes, {ATTRIBUTES_MAX} are allowed: leave some out")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in profile.attributes.items())
    if size > ATTRIBUTES_BYTES_MAX:
        raise TooLarge(f"the attributes have {size} bytes together, {ATTRIBUTES_BYTES_MAX} are allowed: say less")


def check_avatar(avatar: str) -> None:
    """BadRequest unless it is an https URL, or empty: there is no media store whose ids could be named."""
    if not avatar:
        return
    if len(avatar.encode()) > AVATAR_BYTES_MAX:
        raise BadRequest(f"an avatar's URL may have at most {AVATAR_BYTES_MAX} bytes: give a shorter one")
    if not _is_https(avatar):
        raise BadRequest("the avatar is no https URL, and there is no media with such an id: give a URL")


def _is_https(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
