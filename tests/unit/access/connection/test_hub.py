"""Who is connected, and who reads which large group."""

from __future__ import annotations

from services.access.connection.hub import Hub


def test_the_first_and_the_last_connection_of_a_user_are_told() -> None:
    hub: Hub[object] = Hub()
    one, two = object(), object()
    assert hub.add("ann", one)
    assert not hub.add("ann", two)
    assert hub.connections_of("ann") == (one, two)
    assert not hub.remove("ann", one)
    assert hub.remove("ann", two)
    assert not hub.remove("ann", two)
    assert "ann" not in hub
    assert len(hub) == 0


def test_readers_of_a_large_group_are_users_that_are_here() -> None:
    hub: Hub[object] = Hub()
    connection = object()
    hub.join("g:1", "ann")
    assert list(hub.readers("g:1")) == []
    hub.add("ann", connection)
    hub.join("g:1", "ann")
    hub.join("g:2", "ann")
    assert list(hub.readers("g:1")) == ["ann"]
    hub.leave("g:1", "ann")
    hub.leave("g:1", "ann")
    assert list(hub.readers("g:1")) == []
    assert list(hub.groups_of("ann")) == ["g:2"]
    hub.remove("ann", connection)
    assert hub.group_count == 0
    assert list(hub.groups_of("ann")) == []
