"""`python -m tools.cli.stack.programs`: fetches what of the backends' programs is missing. `make setup` runs it."""

from __future__ import annotations

import os
import sys

from tools.cli.failure import Failure
from tools.cli.stack.programs.kafka_archive import complete
from tools.cli.stack.programs.supply import fetch_kafka, find


def main() -> int:
    try:
        fetch_kafka(os.environ)
        find(("etcd", "kafka", "mongodb"), os.environ)
        complete(os.environ)
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
