"""What the server tells by itself beside messages, as the application is told it. Pure."""

from __future__ import annotations

from tidings.model import (
    Group,
    Hidden,
    Notice,
    Preferences,
    PreferencesChanged,
    Presence,
    Profile,
    ProfileChanged,
    Receipt,
    Signal,
)
from tidings_protocol import client_pb2 as pb


def notices_of(frame: pb.ServerFrame) -> list[Notice]:
    """Nothing for what answers a request, but receipts and signals, which answer none."""
    match frame.WhichOneof("body"):
        case "receipt":
            return [Receipt.from_proto(frame.receipt)]
        case "signal":
            return [Signal.from_proto(frame.signal)]
        case "presence_list" if not frame.id:
            return presences(frame.presence_list)
        case "profile_list" if not frame.id:
            return profiles(frame.profile_list)
        case "group_info" if not frame.id:
            return [Group.from_proto(frame.group_info)]
        case "hidden":
            return [Hidden.from_proto(frame.hidden)]
        case "preferences":
            return [PreferencesChanged(Preferences.from_proto(frame.preferences))]
        case _:
            return []


def presences(listed: pb.PresenceList) -> list[Notice]:
    return [Presence.from_proto(user) for user in listed.users]


def profiles(listed: pb.ProfileList) -> list[Notice]:
    return [ProfileChanged(Profile.from_proto(profile)) for profile in listed.profiles]
