"""Images of etcd, Kafka, MongoDB and nginx for a lab without a registry: from the programs of the local stack.

    python -m tests.k8s.images CONTEXTS          lays the contexts, prints name, tag, signal and packages of each

Guarantees: the programs are those that every other test runs on. Does not know: how images are built and where they go.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.cli.failure import Failure
from tools.cli.stack.programs.supply import find, jars_folder, java

HERE = Path(__file__).with_name("images")


@dataclass(frozen=True, slots=True)
class Recipe:
    """`replaces`: the image that the manifests name; `signal`: by which it is asked to end, as that one is."""

    tag: str
    replaces: str
    packages: str
    lay: Callable[[Path, Mapping[str, str]], None]
    signal: str = "SIGTERM"


def _etcd(root: Path, environment: Mapping[str, str]) -> None:
    _copy(Path(find(("etcd",), environment).etcd[0]), root / "usr/local/bin/etcd")


def _kafka(root: Path, environment: Mapping[str, str]) -> None:
    shutil.copytree(Path(java()).parents[1], root / "opt/java", symlinks=True)
    shutil.copytree(jars_folder(environment), root / "opt/kafka/libs", ignore=shutil.ignore_patterns("*.jsa"))
    for name in ("kafka-server-start.sh", "kafka-storage.sh"):
        _copy(HERE / name, root / "opt/kafka/bin" / name)


def _mongodb(root: Path, environment: Mapping[str, str]) -> None:
    _copy(Path(find(("mongodb",), environment).mongod[0]), root / "usr/local/bin/mongod")


def _nginx(root: Path, _environment: Mapping[str, str]) -> None:
    """Debian's, with its stream module linked where the configuration of a lab finds it."""
    (root / "etc/nginx").mkdir(parents=True)


RECIPES: Mapping[str, Recipe] = {
    "etcd": Recipe("tidings-test/etcd:0.1", "quay.io/coreos/etcd", "ca-certificates", _etcd),
    "kafka": Recipe("tidings-test/kafka:0.1", "apache/kafka", "zlib1g", _kafka),
    "mongodb": Recipe("tidings-test/mongodb:0.1", "mongo", "libcurl4 liblzma5 libgcc-s1", _mongodb),
    "nginx": Recipe(
        "tidings-test/nginx:0.2",
        "nginxinc/nginx-unprivileged",
        "nginx-light libnginx-mod-stream",
        _nginx,
        signal="SIGQUIT",  # it lets its clients finish; at SIGTERM it drops them
    ),
}


def lay(name: str, folder: Path, environment: Mapping[str, str]) -> None:
    """The whole build context of one image."""
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    root.mkdir(parents=True)
    _copy(HERE / "Dockerfile", folder / "Dockerfile")
    RECIPES[name].lay(root, environment)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.k8s.images CONTEXTS\n")
        return 2
    try:
        for name, recipe in RECIPES.items():
            lay(name, Path(arguments[0]) / name, os.environ)
            sys.stdout.write(f"{name}\t{recipe.tag}\t{recipe.signal}\t{recipe.packages}\n")
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
