"""A picture in panels: whole axes, every point within them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tools.make.pages.panels import LEFT, PANEL, RIGHT, TOP, WIDTH, Line, Panel, panels


def test_every_point_is_within_its_panel() -> None:
    text = panels("a & b", [Panel("GB", [Line("x", [(0, 0), (17, 123.4)])]), Panel("%", [Line("y", [(5, 0.3)])])])
    ET.fromstring(text)
    first, second = re.findall(r'points="([^"]+)"', text)
    places = [[float(each) for each in place.split(",")] for place in first.split()]
    assert places[0] == [LEFT, TOP + PANEL]
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= TOP + PANEL for x, y in places)
    assert float(second.split(",")[1]) > TOP + PANEL
    assert ">150<" in text  # a round value that is not below the greatest


def test_lines_that_stay_at_nothing_can_be_drawn() -> None:
    ET.fromstring(panels("t", [Panel("GB", [Line("x", [(0, 0), (1, 0)])])]))


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="points"):
        panels("t", [Panel("GB", [Line("x", [])])])
