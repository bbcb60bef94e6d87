"""Whose heads are to be compared."""

from __future__ import annotations

from services.access.cluster.head_checks import HeadChecks


def test_what_is_asked_for_is_taken_once() -> None:
    checks = HeadChecks()
    assert not checks.asked.is_set()
    checks.check(["ann", "bob"])
    checks.check(["ann"])
    assert checks.asked.is_set()
    assert checks.take() == (False, frozenset({"ann", "bob"}))
    assert not checks.asked.is_set()
    assert checks.take() == (False, frozenset())


def test_everyone_is_everyone_and_nobody_is_a_reason_to_look_too() -> None:
    checks = HeadChecks()
    checks.check_all()
    assert checks.take().everyone
    assert not checks.take().everyone
    checks.check(())
    assert checks.asked.is_set()
