"""What the simulated clients did is linearizable, and every defect that breaks the log is not: by Porcupine."""

from __future__ import annotations

import pytest

from tests.histories.__main__ import BREAK_THE_LOG, judge_mutation, judge_seeds

SEEDS = 10
MUTATION_SEEDS = 30


def test_what_clients_did_could_have_been_answered_by_a_single_log() -> None:
    assert list(judge_seeds(0, SEEDS)) == []


@pytest.mark.parametrize("mutation", BREAK_THE_LOG)
def test_a_defect_that_breaks_the_log_is_found(mutation: str) -> None:
    assert list(judge_mutation(mutation, 0, MUTATION_SEEDS)) == []
