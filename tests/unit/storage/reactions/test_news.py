"""What an announcement says came and went."""

from __future__ import annotations

from services.storage.reactions.news import REACTED_MAX, News
from tidings_protocol import client_pb2

One = client_pb2.Change.Reacted.One


def test_what_came_and_went_is_told_once_and_who_acted_last() -> None:
    news = News()
    news.came("ann", "+")
    news.came("bob", "+")
    news.went("cid", "-")
    news.went("bob", "+")
    assert news.by == "bob"
    assert list(news.reacted().added) == [One(user="ann", reaction="+")]
    assert list(news.reacted().removed) == [One(user="cid", reaction="-")]


def test_what_went_and_came_back_is_no_news() -> None:
    news = News()
    news.went("ann", "+")
    news.came("ann", "+")
    assert news.reacted() == client_pb2.Change.Reacted()


def test_no_more_than_twenty_of_each_are_told() -> None:
    news = News("zoe")
    for number in range(50):
        news.came(f"u{number}", "+")
        news.went(f"u{number}", "-")
        news.note(f"u{number}", "x")
    assert len(news.reacted().added) == len(news.reacted().removed) == REACTED_MAX
    assert len(news.acts) == REACTED_MAX
    assert list(news.acts)[-1] == ("u49", "x"), "the last act is among those that are known"
