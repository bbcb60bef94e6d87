"""`python -m services.access`: one access node, told by TIDINGS_* what it is."""

from __future__ import annotations

from services.access.app import app
from services.access.settings import AccessSettings
from services.common import lifecycle

if __name__ == "__main__":
    lifecycle.run("access", AccessSettings, app)
