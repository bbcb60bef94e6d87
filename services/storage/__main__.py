"""`python -m services.storage`: one storage node, told by TIDINGS_* what it is."""

from __future__ import annotations

from services.common import lifecycle
from services.storage.app import app
from services.storage.settings import StorageSettings

if __name__ == "__main__":
    lifecycle.run("storage", StorageSettings, app)
