"""Who writes to whom in a crowd."""

from __future__ import annotations

import random
from collections import Counter

from tools.bench.load.talks import MESSAGES, PAIRS, Talks


def test_each_pair_talks_for_a_few_messages_and_then_another_one_does() -> None:
    talks = Talks(100_000, random.Random(1))
    pairs = Counter(frozenset(talks.next()) for _ in range(100 * PAIRS))
    assert all(len(pair) == 2 for pair in pairs)
    assert max(pairs.values()) == MESSAGES
    assert len(pairs) > 15 * PAIRS


def test_both_of_a_pair_write() -> None:
    talks = Talks(2, random.Random(1))
    assert {talks.next() for _ in range(100)} == {(0, 1), (1, 0)}
