"""Settings of groups: merged, compared, carried to storage and back."""

from __future__ import annotations

import pytest

from services.logic.groups.model import NO_FURTHER, FurtherSettings, GroupPolicy, GroupSnapshot
from services.logic.groups.settings import all_of, changed_by, check_settings, decoded, encoded, merged, names_in
from tidings_protocol.client_pb2 import GroupSettings
from tidings_protocol.errors import BadRequest, TidingsError, TooLarge

POLICY = GroupPolicy()
FURTHER = FurtherSettings("about", "m:1", True, True, True, 30, {"a": "1", "b": "2"})
GROUP = GroupSnapshot("g:x", 1, {}, 0, name="Tea", open=True, further=FURTHER)


def test_further_settings_come_back_as_they_went() -> None:
    assert decoded(encoded(FURTHER)) == FURTHER
    assert encoded(NO_FURTHER) == b""
    assert decoded(b"") is NO_FURTHER


def test_the_same_settings_give_the_same_bytes() -> None:
    other = FurtherSettings("about", "m:1", True, True, True, 30, {"b": "2", "a": "1"})
    assert encoded(other) == encoded(FURTHER)


def test_all_of_them_are_shown_whatever_their_values() -> None:
    shown = all_of(GroupSnapshot("g:x", 1, {}, 0))
    assert len(names_in(shown)) == 10
    assert decoded(all_of(GROUP).SerializeToString()) == FURTHER


def test_only_what_is_not_so_already_changes() -> None:
    asked = GroupSettings(name="Tea", open=False, slow_s=30, muted=False, attributes={"a": "1", "b": "", "c": "3"})
    changed = changed_by(GROUP, asked)
    assert changed == GroupSettings(open=False, muted=False, attributes={"b": "", "c": "3"})
    assert names_in(changed_by(GROUP, GroupSettings(attributes={"unknown": ""}))) == []


def test_what_is_given_replaces_what_was_and_the_rest_stays() -> None:
    after = merged(FURTHER, GroupSettings(description="new", approval=False, attributes={"b": "", "c": "3"}), POLICY)
    assert after == FurtherSettings("new", "m:1", False, True, True, 30, {"a": "1", "c": "3"})


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (GroupSettings(name="x" * 257), BadRequest),
        (GroupSettings(description="é" * 513), TooLarge),
        (GroupSettings(avatar="x" * 2049), TooLarge),
        (GroupSettings(slow_s=86_401), BadRequest),
        (GroupSettings(attributes={"": "x"}), BadRequest),
        (GroupSettings(attributes={str(number): "x" for number in range(17)}), TooLarge),
        (GroupSettings(attributes={"k": "x" * 4096}), TooLarge),
    ],
)
def test_what_no_group_may_have_is_refused(settings: GroupSettings, kind: type[TidingsError]) -> None:
    with pytest.raises(kind):
        check_settings(settings, POLICY)


def test_what_every_group_may_have_is_not_refused() -> None:
    check_settings(GroupSettings(), POLICY)
    attributes = {str(number): "" for number in range(99)}
    check_settings(GroupSettings(description="x" * 1024, slow_s=86_400, attributes=attributes), POLICY)
