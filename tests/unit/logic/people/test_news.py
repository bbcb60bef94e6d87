"""News of what users set for themselves are published for whom they are."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.people.news import PeopleNews
from tests.unit.logic.harness import TOPICS, logic
from tidings_protocol import client_pb2

Push = delivery_pb2.Push


async def test_preferences_go_to_the_user_and_the_rest_to_all_nodes() -> None:
    async with logic() as node:
        news = PeopleNews(node.publisher)
        preferences = client_pb2.ConversationPreferences(conversation="g:1", pinned=True)
        profile = client_pb2.Profile(user="ann", name="Ann", version=1)
        change = delivery_pb2.BlockChange(user="ann", users=["bob"], blocked=True, time_ms=5)
        news.preferences("ann", preferences, "s")
        news.profiles([profile], "s")
        news.blocks(change)
    found = {push.kind: (topic, push) for topic, parcel in node.parcels() for push in parcel.pushes}
    topic, push = found[Push.PREFERENCES]
    assert (topic, list(push.users), push.except_session) == (TOPICS.deliver, ["ann"], "s")
    assert client_pb2.ConversationPreferences.FromString(push.body) == preferences
    topic, push = found[Push.PROFILES]
    assert (topic, list(push.users), push.except_session) == (TOPICS.broadcast, [], "s")
    assert client_pb2.ProfileList.FromString(push.body).profiles == [profile]
    topic, push = found[Push.BLOCKS]
    assert topic == TOPICS.broadcast
    assert delivery_pb2.BlockChange.FromString(push.body) == change
