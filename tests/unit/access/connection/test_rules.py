"""The table of frames covers what clients may say."""

from __future__ import annotations

from services.access.connection.rules import REFRESH_EVERY_S, REFRESHES_BURST, RULES, RefreshLimit
from tidings_protocol import client_pb2


def test_every_frame_of_a_client_has_a_rule_but_the_first_and_the_last() -> None:
    bodies = {field.name for field in client_pb2.ClientFrame.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert bodies - RULES.keys() == {"hello", "bye"}
    assert RULES.keys() <= bodies


def test_only_an_ack_has_no_answer_and_only_pages_are_large() -> None:
    assert [body for body, rule in RULES.items() if not rule.answered] == ["ack"]
    assert {"sync", "history", "conversations"} <= {body for body, rule in RULES.items() if rule.paged}


def test_a_few_new_tokens_may_come_at_once_and_then_one_in_a_while() -> None:
    limit = RefreshLimit()
    assert [limit.take(100.0) for _ in range(REFRESHES_BURST)] == [0.0] * REFRESHES_BURST
    wait_s = limit.take(100.0)
    assert 0 < wait_s <= REFRESH_EVERY_S
    assert limit.take(100.0 + wait_s) == 0.0
