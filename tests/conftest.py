"""What all tests share: profiles of hypothesis, and an environment without settings of whoever runs them.

Profiles: `dev` (few examples, for a quick look), `ci` (the default; the same examples in every run) and `thorough`
(many, by hand), chosen with HYPOTHESIS_PROFILE.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.support.cluster.backends import real_backends

__all__ = ["real_backends"]

# A loaded machine is slow: only what an example finds counts, never how long it took.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _COMMON, max_examples=25)
settings.register_profile("ci", _COMMON, max_examples=100, derandomize=True, database=None)
settings.register_profile("thorough", _COMMON, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test gives every setting that it depends on."""
    for name in [name for name in os.environ if name.startswith("TIDINGS_") and not name.startswith("TIDINGS_X_")]:
        monkeypatch.delenv(name)
