"""Old and new programs understand each other: the protos of today against every version that was kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from protos.tidings.internal.v1 import access_pb2, logic_pb2, storage_pb2
from tests.deploy.newer_node import UNKNOWN
from tidings_protocol import client_pb2
from tools.make import wire_release

VERSIONS = sorted(wire_release.released())


@pytest.fixture(scope="module")
def today() -> FileDescriptorSet:
    return wire_release.today()


def test_there_is_a_version_to_compare_with() -> None:
    assert VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_that_this_version_says_has_another_meaning_now(version: str, today: FileDescriptorSet) -> None:
    assert wire_release.breaking(wire_release.released()[version], today) == []


def _send(found: FileDescriptorSet) -> DescriptorProto:
    client = next(file for file in found.file if file.name.endswith("v1/client.proto"))
    return next(message for message in client.message_type if message.name == "Send")


def _remove(found: FileDescriptorSet) -> None:
    del _send(found).field[0]


def _renumber(found: FileDescriptorSet) -> None:
    _send(found).field[0].number = 900


def _retype(found: FileDescriptorSet) -> None:
    _send(found).field[0].type = FieldDescriptorProto.TYPE_BYTES


def _rename(found: FileDescriptorSet) -> None:
    _send(found).field[0].name = "another"


def _lose_a_method(found: FileDescriptorSet) -> None:
    served = next(file for file in found.file if file.service)
    del served.service[0].method[0]


def _renumber_a_value(found: FileDescriptorSet) -> None:
    for file in found.file:
        for message in file.message_type:
            for enum in message.enum_type:
                enum.value[-1].number += 100
                return


@pytest.mark.parametrize("harm", [_remove, _renumber, _retype, _rename, _lose_a_method, _renumber_a_value])
def test_a_change_that_breaks_is_found(harm: Callable[[FileDescriptorSet], None], today: FileDescriptorSet) -> None:
    changed = FileDescriptorSet()
    changed.CopyFrom(today)
    harm(changed)
    assert wire_release.breaking(today, changed)


def test_a_new_field_breaks_nothing(today: FileDescriptorSet) -> None:
    changed = FileDescriptorSet()
    changed.CopyFrom(today)
    _send(changed).field.add(name="new", number=900, type=FieldDescriptorProto.TYPE_STRING, label=1)
    assert wire_release.breaking(today, changed) == []


def test_a_number_that_went_and_is_reserved_breaks_nothing(today: FileDescriptorSet) -> None:
    changed = FileDescriptorSet()
    changed.CopyFrom(today)
    number = _send(changed).field[0].number
    del _send(changed).field[0]
    _send(changed).reserved_range.add(start=number, end=number + 1)
    assert wire_release.breaking(today, changed) == []


@pytest.mark.parametrize("module", [client_pb2, access_pb2, logic_pb2, storage_pb2])
def test_a_message_with_a_field_that_nobody_knows_is_read(module: object) -> None:
    names = module.DESCRIPTOR.message_types_by_name  # type: ignore[attr-defined]
    assert names
    for name in names:
        message = getattr(module, name)
        assert message.FromString(message().SerializeToString() + UNKNOWN) is not None
