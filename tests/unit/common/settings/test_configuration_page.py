"""docs/configuration.md says what the settings classes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.settings.describe import describe_class
from services.common.settings.sources import SERVICES, settings_class
from tools import configuration


def test_the_page_is_what_the_code_says() -> None:
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), "run `make docs`"


def test_every_setting_is_on_the_page() -> None:
    page = configuration.page()
    for service in SERVICES:
        for row in describe_class(settings_class(service)):
            assert f"| `{row.name}` |" in page


def test_a_page_that_differs_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "PAGE", tmp_path / "configuration.md")
    assert configuration.main(["check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert configuration.main(["write"]) == 0
    assert configuration.main(["check"]) == 0
