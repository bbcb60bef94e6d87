"""A class-data archive for Kafka: its JVM then starts in half of the time and CPU (measured: 2.2 to 1.2 s).

Made once, at the set-up, by a short run of this very Kafka. It is a speed-up only: without it, or if the JVM does not
accept it, Kafka starts as ever.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cli.failure import Failure
from tools.cli.stack.ports import Ports
from tools.cli.stack.programs import supply as programs
from tools.cli.stack.programs.kafka import Kafka
from tools.cli.stack.programs.program import plain_environment

STARTED = "Kafka Server started"
STEP_S = 120.0


def complete(environment: Mapping[str, str]) -> None:
    """Make the archive if it is not there. Never raises: what goes wrong is told, and costs only the speed."""
    archives = programs.archives(environment)
    if all(archive.exists() for archive in archives):
        return
    try:
        _make(environment, *archives)
    except (OSError, subprocess.SubprocessError, Failure) as error:
        sys.stderr.write(f"Kafka will start more slowly: its class archive could not be made ({error}).\n")


def _make(environment: Mapping[str, str], java_archive: Path, kafka_archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=java_archive.parent) as name:
        work = Path(name)
        new, flags = work / "new.jsa", ["-XX:+UseSerialGC"]
        _run([programs.java(), "-Xshare:dump", *flags, f"{programs.ARCHIVE_FLAG}={new}"], environment)
        new.replace(java_archive)  # first: the second archive remembers where the first one is
        flags += [f"{programs.ARCHIVE_FLAG}={java_archive}", f"-XX:ArchiveClassesAtExit={new}"]
        _run_kafka(flags, work, environment)
        new.replace(kafka_archive)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    subprocess.run(
        command, env=plain_environment(environment), capture_output=True, text=True, check=True, timeout=STEP_S
    )


def _run_kafka(flags: Sequence[str], work: Path, environment: Mapping[str, str]) -> None:
    """Start it on free ports, wait until it runs, end it: at its end it writes what it has loaded."""
    found = programs.find(["kafka"], environment)
    kafka = Kafka(found.kafka, found.kafka_storage, Ports(_free_base()), work / "data", environment)
    kafka.prepare()
    java, *rest = kafka.command()
    with subprocess.Popen(
        [java, *flags, *(flag for flag in rest if not flag.startswith(programs.ARCHIVE_FLAG))],
        env=kafka.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            if not any(STARTED in line for line in process.stdout):
                raise Failure("Kafka did not start.", "Run `tidings doctor`.")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=STEP_S)
        finally:
            process.kill()


def _free_base() -> int:
    """A base whose two ports for Kafka are free just now."""
    kafka, controller = Ports(0).kafka, Ports(0).kafka_controller
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            base: int = first.getsockname()[1] - kafka
            try:
                second.bind(("127.0.0.1", base + controller))
            except (OSError, OverflowError):
                continue
            return base
