"""What came of a case that breaks something: of one on processes (tests/chaos), or on Kubernetes (tests/k8s).

Does not know: how a case is conducted, and what its judge looks at (histories/verdict.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.histories.verdict import Verdict


class Skipped(Exception):
    """This machine cannot do it; the text says why."""


class Broken(Exception):
    """A promise that the case itself looks at was not kept; the text says which."""


@dataclass(slots=True)
class Result:
    """The outcome of one case. `problem`: why it could not be judged; `skipped`: why this machine cannot do it."""

    case: str
    does: str
    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    healthy_s: float = 0.0
    took_s: float = 0.0
    problem: str = ""
    skipped: str = ""
    logs: str = ""
    rate: float = 0.0
    others_load: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.problem and self.verdict.clean

    def to_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "case": self.case,
            "does": self.does,
            "seed": self.seed,
            "rate": self.rate,
            "others_load": self.others_load,
            "passed": self.passed,
            "skipped": self.skipped,
            "problem": self.problem,
            "posted": verdict.posted,
            "changes": verdict.changes,
            "refused": verdict.refused,
            "acknowledged": verdict.acknowledged,
            "given_up": verdict.given_up,
            "shown": verdict.shown,
            **verdict.counts,
            "sender_pause_s": round(verdict.sender_pause_s, 2),
            "receiver_pause_s": round(verdict.receiver_pause_s, 2),
            "healthy_s": round(self.healthy_s, 2),
            "took_s": round(self.took_s, 1),
            "findings": [finding.evidence for finding in verdict.findings[:100]],
            "logs": self.logs,
            **self.details,
        }


def failed(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if not result.skipped and not result.passed]
