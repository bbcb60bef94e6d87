"""The settings of a group: checked, changed, shown, and as they travel to storage and back.

Those that every group has (name, open, channel, share_history) have fields of their own everywhere; the others travel
as an encoded tidings.v1.GroupSettings.

Guarantees: pure. What a request does not give stays; attributes are merged by key, an empty value removes one.

Does not know: who may change what (moderating.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from services.logic.groups.model import NO_FURTHER, FurtherSettings, GroupPolicy, GroupSnapshot
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TooLarge

Settings = client_pb2.GroupSettings

# Settings that are the owner's alone.
OWNERS = frozenset({"open", "channel", "share_history", "approval", "members_add"})
_IN_FURTHER = ("description", "avatar", "approval", "members_add", "muted", "slow_s")


def check_settings(settings: Settings, policy: GroupPolicy) -> None:
    """Raises BadRequest or TooLarge for what no group may have, whatever it has now."""
    check_name(settings.name, policy)
    if len(settings.description.encode()) > policy.description_bytes_max:
        raise TooLarge(f"a description may have at most {policy.description_bytes_max} bytes: write a shorter one")
    if len(settings.avatar.encode()) > policy.avatar_bytes_max:
        raise TooLarge(f"an avatar may have at most {policy.avatar_bytes_max} bytes: give a media id or a shorter URL")
    if settings.slow_s > policy.slow_s_max:
        raise BadRequest(f"slow_s may be at most {policy.slow_s_max}: choose a shorter time")
    if "" in settings.attributes:
        raise BadRequest("an attribute has no name: give it one")
    _check_attributes({key: value for key, value in settings.attributes.items() if value}, policy)


def check_name(name: str, policy: GroupPolicy) -> None:
    """Raises BadRequest for one that is too long."""
    if len(name.encode()) > policy.name_bytes_max:
        raise BadRequest(f"a group's name may have at most {policy.name_bytes_max} bytes: choose a shorter one")


def changed_by(group: GroupSnapshot, settings: Settings) -> Settings:
    """Those of the settings that are not so already; of attributes those that change, an empty one is removed."""
    now, changed = all_of(group), Settings()
    for name in names_in(settings):
        if name != "attributes" and getattr(settings, name) != getattr(now, name):
            setattr(changed, name, getattr(settings, name))
    for key, value in settings.attributes.items():
        if now.attributes.get(key, "") != value:
            changed.attributes[key] = value
    return changed


def names_in(settings: Settings) -> list[str]:
    """The names of the settings that are given."""
    return [field.name for field, _ in settings.ListFields()]


def merged(further: FurtherSettings, settings: Settings, policy: GroupPolicy) -> FurtherSettings:
    """The further settings after these were given. Raises TooLarge if there are too many attributes then."""
    attributes = {key: value for key, value in {**further.attributes, **settings.attributes}.items() if value}
    _check_attributes(attributes, policy)
    given = {name: getattr(settings, name) for name in names_in(settings) if name in _IN_FURTHER}
    return replace(further, attributes=attributes, **given)


def all_of(group: GroupSnapshot) -> Settings:
    """All settings, each of them given."""
    further = group.further
    return Settings(
        name=group.name,
        description=further.description,
        avatar=further.avatar,
        open=group.open,
        channel=group.channel,
        share_history=group.share_history,
        approval=further.approval,
        members_add=further.members_add,
        muted=further.muted,
        slow_s=further.slow_s,
        attributes=further.attributes,
    )


def encoded(further: FurtherSettings) -> bytes:
    """The further settings as storage keeps them; of a group that has none, nothing. The same give the same bytes."""
    settings = Settings(attributes=further.attributes)
    for name in _IN_FURTHER:
        if value := getattr(further, name):
            setattr(settings, name, value)
    return settings.SerializeToString(deterministic=True)


def decoded(settings: bytes) -> FurtherSettings:
    """The inverse of `encoded`."""
    if not settings:
        return NO_FURTHER
    found = Settings.FromString(settings)
    values = {name: getattr(found, name) for name in _IN_FURTHER}
    return FurtherSettings(attributes=dict(found.attributes), **values)


def _check_attributes(attributes: Mapping[str, str], policy: GroupPolicy) -> None:
    if len(attributes) > policy.attributes_max:
        raise TooLarge(
            f"a group has at most {policy.attributes_max} attributes: give some an empty value, which removes them"
        )
    size = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    if size > policy.attributes_bytes_max:
        raise TooLarge(
            f"a group's attributes have at most {policy.attributes_bytes_max} bytes together: make them shorter"
        )
