"""How what kube-score says is read and judged; kube-score itself runs in `make kube-score`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.cli.failure import Failure
from tools.make import kube_score
from tools.make.kube_score import Criticism


def _told(grade: int, *, skipped: bool = False, comments: list[dict[str, str]] | None = None) -> list[dict[str, Any]]:
    check = {
        "check": {"id": "pod-probes", "comment": "Makes sure that all Pods have safe probe configurations"},
        "grade": grade,
        "skipped": skipped,
        "comments": comments,
    }
    return [{"type_meta": {"kind": "Deployment"}, "object_meta": {"name": "edge"}, "checks": [check]}]


def test_a_criticism_says_where_and_what() -> None:
    comments = [{"path": "edge", "summary": "Same readiness and liveness probe", "description": "long"}]
    found = list(kube_score.read(_told(1, comments=comments)))
    assert found == [Criticism("pod-probes", "Deployment edge", "edge: Same readiness and liveness probe")]


def test_what_is_good_or_skipped_is_no_criticism() -> None:
    assert not list(kube_score.read(_told(10)))
    assert not list(kube_score.read(_told(1, skipped=True)))
    assert list(kube_score.read(_told(5)))


def test_an_exception_covers_one_object_or_all_and_must_be_needed() -> None:
    found = {"lab": [Criticism("pod-probes", "Deployment edge", "same")], "dev": []}
    assert kube_score.judge(found, {"pod-probes": {"Deployment edge": "why"}}) == []
    assert kube_score.judge(found, {"pod-probes": {"*": "why"}}) == []
    assert kube_score.judge(found, {}) == ["lab: Deployment edge: pod-probes: same"]
    unneeded = kube_score.judge(found, {"pod-probes": {"Deployment edge": "why", "Deployment logic": "why"}})
    assert unneeded == ["nothing needs the exception pod-probes for Deployment logic"]


def test_every_exception_has_a_reason() -> None:
    for name, there in tomllib.loads(kube_score.EXCEPTIONS.read_text(encoding="utf-8")).items():
        assert all(len(reason) > 20 for reason in there.values()), name


def test_where_it_cannot_be_had_it_says_what_to_do(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    go.chmod(0o755)
    with pytest.raises(Failure, match=r"`go install` said: no network.* Put Go on PATH"):
        kube_score.PROGRAM.fetch({"PATH": f"{tmp_path}{os.pathsep}/bin", "TIDINGS_CACHE": str(tmp_path / "cache")})


def test_a_program_that_is_there_is_not_fetched(tmp_path: Path) -> None:
    program = tmp_path / "kube-score"
    program.write_text("")
    program.chmod(0o755)
    assert kube_score.PROGRAM.fetch({"PATH": str(tmp_path), "TIDINGS_CACHE": str(tmp_path)}) == program
