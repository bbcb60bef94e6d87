"""`python -m tidings_server MODULE …`: runs one of the server's modules, as `python -m MODULE …` does in a checkout."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tidings_server services.access|services.logic|services.storage|tools.cli.main …")
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
