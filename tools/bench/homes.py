"""Where each user of a large crowd connects: to the node that owns the user, as a client that asked would.

Who is sent from node to node costs twice, which is measured elsewhere (`connect`).
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from services.common.ring import LOAD_MAX, Ring
from tools.cli.failure import Failure

OTHER_FILES = 500  # of a process, besides those of its connections


def files_max() -> int:
    """Connections that the system lets a process have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OTHER_FILES


def access_needed(connections: int) -> int:
    """Access nodes for so many: the fullest has `LOAD_MAX` of the mean."""
    return max(2, ceil(LOAD_MAX * connections / files_max()))


def homes(snapshot: Mapping[str, Any], users: Sequence[str]) -> tuple[list[str], list[int]]:
    """The addresses of the access nodes, and the place in them for each user. Raises Failure if one has no room."""
    urls = {node["name"]: node["ws"] for node in snapshot["access"] if node["state"] == "ready"}
    ring = Ring.build(dict.fromkeys(urls, 1.0))
    places = {name: place for place, name in enumerate(urls)}
    found = [str(ring.owner_of(user)) for user in users]
    name, fullest = Counter(found).most_common(1)[0]
    if fullest > files_max():
        raise Failure(
            f"{name} would have {fullest:,} connections, and the system lets a process have {files_max():,}.",
            f"Give more access nodes, as --access {len(urls) + 1}.",
        )
    return list(urls.values()), [places[owner] for owner in found]
