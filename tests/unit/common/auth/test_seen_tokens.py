"""Which tokens are known again, for how long, and with which keys."""

from __future__ import annotations

import pytest

from services.common.auth.claims import LEEWAY_S, Claims, Key
from services.common.auth.seen_tokens import SeenTokens

NOW = 1_700_000_000.0
KEY = Key("HS256", b"a secret")
CLAIMS = Claims("ann", NOW + 60)


def seen() -> SeenTokens:
    tokens = SeenTokens()
    tokens.add("one", CLAIMS, KEY, NOW)
    return tokens


def test_a_token_that_was_found_good_says_the_same_again() -> None:
    tokens = seen()
    assert tokens.claims_of("one", [Key("HS256", b"another"), KEY], NOW + 59) == CLAIMS
    assert tokens.claims_of("other", [KEY], NOW) is None


@pytest.mark.parametrize("now", [NOW + 60 + LEEWAY_S, NOW - 1])
def test_one_that_has_ended_or_was_found_good_later_than_now_has_to_be_verified(now: float) -> None:
    tokens = seen()
    assert tokens.claims_of("one", [KEY], now) is None
    assert len(tokens) == 0


@pytest.mark.parametrize("keys", [[], [Key("HS256", b"a secret")]])
def test_one_whose_key_was_withdrawn_or_fetched_anew_has_to_be_verified(keys: list[Key]) -> None:
    tokens = seen()
    assert tokens.claims_of("one", keys, NOW) is None
    assert tokens.claims_of("one", [KEY], NOW) is None


def test_those_that_were_verified_longest_ago_go_first() -> None:
    tokens = SeenTokens(tokens_max=2)
    for token in ("one", "two", "three"):
        tokens.add(token, CLAIMS, KEY, NOW)
    assert [tokens.claims_of(token, [KEY], NOW) is not None for token in ("one", "two", "three")] == [False, True, True]


def test_a_token_that_is_no_text_is_not_known() -> None:
    assert seen().claims_of("\ud800", [KEY], NOW) is None
