"""Topics that Kafka has lost are made again, once it is sure, and by whoever may."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from services.common.bus.contract import Topic
from services.common.bus.kafka import admin as kafka_admin
from services.common.bus.kafka import topics as kafka_topics
from services.common.bus.kafka.topics import TopicGuard
from tidings_protocol.errors import Unavailable

TOPICS = [Topic("t.deliver", 8), Topic("t.broadcast", 2)]


class Admin:
    """A Kafka with these topics."""

    def __init__(self) -> None:
        self.there = {topic.name for topic in TOPICS}
        self.asked = 0
        self.refuses = ""
        self.away = False

    async def unknown(self, topics: Sequence[Topic]) -> list[Topic]:
        self.asked += 1
        if self.away:
            raise Unavailable("the bus (Kafka) at x:1 does not answer")
        return [topic for topic in topics if topic.name not in self.there]

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        if self.refuses:
            raise Unavailable(self.refuses)
        self.there.update(topic.name for topic in topics)


class Guarded:
    """A guard that looks when it is told to."""

    def __init__(self) -> None:
        self.admin = Admin()
        self.anew: list[str] = []
        self.quiet = False
        self.guard = TopicGuard(self.admin, lambda: self.quiet, self.anew.append)  # type: ignore[arg-type]  # its twin
        self.guard.want(TOPICS)


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


async def test_while_all_is_well_nothing_is_asked(guarded: Guarded) -> None:
    await guarded.guard.step()
    assert guarded.admin.asked == 0


async def test_what_is_unknown_for_a_moment_is_left_alone(guarded: Guarded) -> None:
    guarded.quiet = True
    guarded.admin.there = set()
    await guarded.guard.step()
    assert (guarded.admin.there, guarded.anew, guarded.guard.trouble) == (set(), [], "")


async def test_what_stays_unknown_is_made_again_and_begun_anew(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topics, "UNKNOWN_S", 0.0)
    guarded.quiet = True
    guarded.admin.there = {"t.deliver"}
    await guarded.guard.step()
    assert (guarded.admin.there, guarded.anew) == ({"t.deliver", "t.broadcast"}, ["t.broadcast"])


async def test_what_another_node_has_made_again_is_begun_anew_too(guarded: Guarded) -> None:
    guarded.quiet = True
    guarded.admin.there = set()
    await guarded.guard.step()
    guarded.quiet = False
    guarded.admin.there = {"t.deliver", "t.broadcast"}
    await guarded.guard.step()
    assert sorted(guarded.anew) == ["t.broadcast", "t.deliver"]
    asked = guarded.admin.asked
    await guarded.guard.step()
    assert guarded.admin.asked == asked


async def test_a_node_that_may_not_make_them_says_what_to_do(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_topics, "UNKNOWN_S", 0.0)
    guarded.quiet = True
    guarded.admin.there = set()
    guarded.admin.refuses = "this node may not make the topic t.deliver in Kafka: run the job `prepare`"
    await guarded.guard.step()
    assert "t.deliver" in guarded.guard.trouble
    assert "prepare" in guarded.guard.trouble
    guarded.admin.there = {"t.deliver", "t.broadcast"}
    await guarded.guard.step()
    assert guarded.guard.trouble == ""
    assert sorted(guarded.anew) == ["t.broadcast", "t.deliver"]


async def test_that_kafka_is_away_is_told_by_others(guarded: Guarded) -> None:
    guarded.quiet = guarded.admin.away = True
    await guarded.guard.step()
    assert guarded.guard.trouble == ""


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError, ClusterAuthorizationFailedError])
def test_a_refusal_by_kafka_names_the_topic_and_the_job(error: type[KafkaError]) -> None:
    outcomes = [("t.deliver", error.errno, None)]
    with pytest.raises(Unavailable, match=r"t\.deliver.*`prepare`"):
        kafka_admin._check(outcomes, TopicAlreadyExistsError, "make the topic t.deliver")


def test_what_another_node_did_first_is_no_error() -> None:
    kafka_admin._check([("t.deliver", TopicAlreadyExistsError.errno, None)], TopicAlreadyExistsError, "make it")
