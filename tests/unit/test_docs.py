"""The documents name files and pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def _folder_of_row(row: str) -> list[str]:
    """Full paths of the files that a row names; a bare name is in the folder of the one before it."""
    paths: list[str] = []
    folder = ""
    for name in re.findall(r"`([^`]+\.py)`", row):
        if "/" in name:
            folder = name.rpartition("/")[0]
        paths.append(name if "/" in name else f"{folder}/{name}")
    return paths


def test_the_message_that_is_followed_through_the_code_meets_only_files_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    section = text.split("## One message, followed through the code")[1].split("\n## ")[0]
    named = [path for row in section.splitlines() if row.startswith("| ") for path in _folder_of_row(row)]
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
