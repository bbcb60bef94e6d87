"""`python -m services.logic`: one logic node, told by TIDINGS_* what it is."""

from __future__ import annotations

from services.common import lifecycle
from services.logic.app import app
from services.logic.settings import LogicSettings

if __name__ == "__main__":
    lifecycle.run("logic", LogicSettings, app)
