"""What earlier versions say on the wire, kept as descriptors: `python -m tools.make.wire_release keep` or `check`.

`keep` writes protos/released/VERSION.binpb; do it for each release. `check` compares the protos of today with every
version that was kept: nodes of two versions run together during an upgrade, and clients are years old.

Guarantees: what `breaking` finds none of, an old and a new program can read from each other: fields, their numbers and
types, oneofs, enum values and methods stay; new ones may come, and a number that went is reserved.
Does not know: what fields mean.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "protos" / "released"
SUFFIX = ".binpb"

T = TypeVar("T")


def today() -> FileDescriptorSet:
    """The descriptors of the protos as they are."""
    protos = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "protos").rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={file}", *protos]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
        return FileDescriptorSet.FromString(file.read_bytes())


def released() -> Mapping[str, FileDescriptorSet]:
    """Every version that was kept, by its name."""
    return {path.stem: FileDescriptorSet.FromString(path.read_bytes()) for path in sorted(RELEASED.glob(f"*{SUFFIX}"))}


def breaking(old: FileDescriptorSet, new: FileDescriptorSet) -> list[str]:
    """What someone who speaks `old` would not understand of `new`, or the other way round; nothing: all is well."""
    return [
        *_compared(_messages(old), _messages(new), _changed_message),
        *_compared(_enums(old), _enums(new), _changed_enum),
        *_compared(_services(old), _services(new), _changed_service),
    ]


def _compared(old: Mapping[str, T], new: Mapping[str, T], changed: Callable[[T, T], Iterator[str]]) -> Iterator[str]:
    for name, before in old.items():
        if name not in new:
            yield f"{name} is gone"
        else:
            yield from (f"{name}{what}" for what in changed(before, new[name]))


def _changed_message(old: DescriptorProto, new: DescriptorProto) -> Iterator[str]:
    numbers = {field.number: field for field in new.field}
    reserved = {number for span in new.reserved_range for number in range(span.start, span.end)}
    for field in old.field:
        now = numbers.get(field.number)
        if now is None:
            if field.number not in reserved:
                yield f".{field.name}: number {field.number} is gone and not reserved"
        elif (before := _shape(old, field)) != (after := _shape(new, now)):
            yield f".{field.name}: was {before}, is {after}"


def _shape(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """All of a field that is on the wire, or in its JSON form."""
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    words = [label, field.type_name or kind, field.name, f"in {oneof}" if oneof else ""]
    return " ".join(word for word in words if word)


def _changed_enum(old: EnumDescriptorProto, new: EnumDescriptorProto) -> Iterator[str]:
    now = {value.number: value.name for value in new.value}
    for value in old.value:
        if now.get(value.number) != value.name:
            yield f".{value.name}: was {value.number}, which is {now.get(value.number, 'gone')}"


def _changed_service(old: ServiceDescriptorProto, new: ServiceDescriptorProto) -> Iterator[str]:
    now = {method.name: (method.input_type, method.output_type) for method in new.method}
    for method in old.method:
        if now.get(method.name) != (method.input_type, method.output_type):
            yield f".{method.name}: is gone, or takes or gives something else"


def _messages(found: FileDescriptorSet) -> dict[str, DescriptorProto]:
    def inside(prefix: str, message: DescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
        name = f"{prefix}.{message.name}"
        yield name, message
        for nested in message.nested_type:
            yield from inside(name, nested)

    return dict(each for file in found.file for message in file.message_type for each in inside(file.package, message))


def _enums(found: FileDescriptorSet) -> dict[str, EnumDescriptorProto]:
    top = {f"{file.package}.{enum.name}": enum for file in found.file for enum in file.enum_type}
    nested = {f"{name}.{enum.name}": enum for name, message in _messages(found).items() for enum in message.enum_type}
    return {**top, **nested}


def _services(found: FileDescriptorSet) -> dict[str, ServiceDescriptorProto]:
    return {f"{file.package}.{service.name}": service for file in found.file for service in file.service}


def main(arguments: list[str]) -> int:
    match arguments:
        case ["keep"]:
            text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
            assert version
            RELEASED.mkdir(exist_ok=True)
            (RELEASED / f"{version[1]}{SUFFIX}").write_bytes(today().SerializeToString(deterministic=True))
            return 0
        case ["check"]:
            now = today()
            found = [f"{name}: {what}" for name, old in released().items() for what in breaking(old, now)]
            for line in found:
                sys.stderr.write(f"since {line}\n")
            return 1 if found else 0
        case _:
            sys.stderr.write("usage: python -m tools.make.wire_release keep|check\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
