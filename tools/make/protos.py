"""Generated code: `write` makes it beside each .proto, `complete` only if some is missing, `check` says which
files are not what the protos say.

Each file's code is made by grpc_tools.protoc with mypy-protobuf from the root of the project, so that
`tidings_protocol.client_pb2` is its module. The drift check makes it in a folder of its own and compares bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
FOLDERS = ("protos", "client/tidings_protocol")


def main() -> int:
    match sys.argv[1:]:
        case ["write"]:
            write()
            return 0
        case ["complete"]:
            if any(not _code_of(proto).exists() for proto in (ROOT / "protos").rglob("*.proto")):
                write()
            return 0
        case ["check"]:
            stale = drift()
            for name in stale:
                sys.stderr.write(f"{name} is not what the protos say\n")
            if stale:
                sys.stderr.write("Run `make protos` and commit what it changes.\n")
            return 1 if stale else 0
        case _:
            sys.stderr.write("usage: python -m tools.make.protos write|complete|check\n")
            return 2


def write() -> None:
    """Generate in place; code whose proto is gone goes too."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        for path in _generated(ROOT):
            if not (fresh / path.relative_to(ROOT)).exists():
                path.unlink()
        for path in _generated(fresh):
            (ROOT / path.relative_to(fresh)).write_bytes(path.read_bytes())


def drift() -> list[str]:
    """The generated files that differ from, or are missing beside, the protos; relative to the root."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        made = {path.relative_to(fresh) for path in _generated(fresh)}
        there = {path.relative_to(ROOT) for path in _generated(ROOT)}
        differing = {path for path in made & there if (fresh / path).read_bytes() != (ROOT / path).read_bytes()}
        return sorted(str(path) for path in differing | (made ^ there))


def generate(target: Path) -> None:
    protos = sorted((ROOT / "protos").rglob("*.proto"))
    plain = [proto for proto in protos if "\nservice " not in proto.read_text()]
    served = [proto for proto in protos if proto not in plain]
    _protoc(target, plain, ["python", "mypy"])
    _protoc(target, served, ["python", "mypy", "grpc_python", "mypy_grpc"])
    _move_client(target)


def _code_of(proto: Path) -> Path:
    name = f"{proto.stem}_pb2.py"
    return ROOT / "client" / "tidings_protocol" / name if proto.stem == "client" else proto.with_name(name)


def _move_client(target: Path) -> None:
    """The code of client.proto to its package, and its new name to all that import it."""
    package = target / "client" / "tidings_protocol"
    package.mkdir(parents=True)
    for suffix in (".py", ".pyi"):
        (target / "protos/tidings/v1" / f"client_pb2{suffix}").rename(package / f"client_pb2{suffix}")
    for path in _generated(target):
        text = path.read_text()
        text = text.replace("from protos.tidings.v1 import client_pb2", "from tidings_protocol import client_pb2")
        path.write_text(text.replace("protos.tidings.v1.client_pb2", "tidings_protocol.client_pb2"))


def _protoc(target: Path, protos: list[Path], outputs: list[str]) -> None:
    if not protos:
        return
    beside = Path(sys.executable).parent
    plugins = [f"--plugin={beside / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outcome = subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I.",
            *plugins,
            *[f"--{output}_out={target}" for output in outputs],
            *[str(proto.relative_to(ROOT)) for proto in protos],
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if outcome.returncode:
        raise SystemExit(f"protoc refused the protos:\n{outcome.stderr}")


def _generated(folder: Path) -> list[Path]:
    return [path for inside in FOLDERS for pattern in PATTERNS for path in (folder / inside).rglob(pattern)]


if __name__ == "__main__":
    sys.exit(main())
