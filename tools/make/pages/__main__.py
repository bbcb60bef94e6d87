"""`python -m tools.make.pages [REPORT]`: writes what is made of a report, of the standard set or of a crowd.

Of the standard set that is docs/performance.md with its picture, the costs that `tidings capacity` reckons with, and
docs/capacity.md; of a crowd its section of docs/performance.md, and its picture.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.bench.capacity.command import FIGURES
from tools.bench.capacity.figures import figures_of, read
from tools.bench.capacity.model import Profile, needs
from tools.bench.capacity.ring_measure import measure
from tools.bench.options import REPORT_DEFAULT
from tools.bench.plan import CROWD
from tools.make.pages import capacity, crowd, performance

DOCS = Path(__file__).resolve().parents[3] / "docs"


def main() -> int:
    if len(sys.argv) > 2 or any(name.startswith("-") for name in sys.argv[1:]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    file = Path(sys.argv[1]) if len(sys.argv) == 2 else REPORT_DEFAULT
    try:
        report = json.loads(file.read_text())
        if report["workload"] == CROWD:
            write_crowd(report, DOCS)
        else:
            write(report, DOCS, FIGURES)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"The pages could not be written: {error}.\n")
        return 1
    return 0


def write(report: Mapping[str, Any], docs: Path, figures: Path) -> None:
    """Raises OSError, ValueError or KeyError, before anything is written if the report is not whole."""
    page, needed = docs / "performance.md", docs / "capacity.md"
    costs = figures_of(report)
    example = capacity.tables_of(needs(Profile(online=1_000_000), read(costs)), measure(1000, 10_000_000))
    texts = {
        page: performance.put(page.read_text(), performance.tables_of(report)),
        page.with_suffix(".svg"): performance.load_picture(report),
        figures: json.dumps(costs, indent=1) + "\n",
        needed: performance.put(needed.read_text(), example),
    }
    for path, text in texts.items():
        path.write_text(text)


def write_crowd(report: Mapping[str, Any], docs: Path) -> None:
    """Raises OSError, ValueError or KeyError, before anything is written if the report is not whole."""
    page = docs / "performance.md"
    texts = {
        page: performance.put(page.read_text(), crowd.tables_of(report)),
        docs / crowd.PICTURE: crowd.crowd_picture(report),
    }
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
