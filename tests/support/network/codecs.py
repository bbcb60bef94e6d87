"""The JSON codec as it is on servers, and as it is for a client that has no msgspec."""

from __future__ import annotations

import importlib
import sys
from typing import Final

from tidings_protocol.wire.codec import JSON, PROTO, Codec

_FOLDER: Final = "tidings_protocol.wire.json"


def _without_msgspec() -> Codec:
    """Made by modules of their own, which were told at their import that it is not installed."""
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "msgspec"}
    ours = {name: module for name, module in sys.modules.items() if name.startswith(_FOLDER)}
    for name in (*hidden, *ours):
        del sys.modules[name]
    sys.modules["msgspec"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        made: Codec = importlib.import_module(f"{_FOLDER}.codec").JsonCodec()
    finally:
        for name in [name for name in sys.modules if name.startswith(_FOLDER)]:
            del sys.modules[name]
        sys.modules.update(ours | hidden)
        sys.modules["tidings_protocol.wire"].json = ours[_FOLDER]  # type: ignore[attr-defined]  # as the import left it
    return made


PLAIN_JSON: Final = _without_msgspec()
JSONS: Final = {"JSON by msgspec": JSON, "JSON by the standard library": PLAIN_JSON}
ALL: Final = {"protobuf": PROTO, **JSONS}
