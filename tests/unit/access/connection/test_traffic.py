"""Counts of frames and bytes."""

from __future__ import annotations

from services.access.connection.traffic import DELIVER, Traffic, label_of
from services.common.telemetry import metrics
from tidings_protocol import client_pb2
from tidings_protocol.wire.body import EncodedBody


def test_what_was_counted_goes_into_the_metrics_once() -> None:
    traffic = Traffic("tcp")
    received, sent = metrics.BYTES_IN.labels("tcp"), metrics.FRAMES_OUT.labels("tcp", DELIVER)
    before = received._value.get(), sent._value.get()
    traffic.bytes_in += 10
    traffic.frames_out[DELIVER] += 3
    traffic.flush()
    traffic.flush()
    assert (received._value.get(), sent._value.get()) == (before[0] + 10, before[1] + 3)
    assert (traffic.bytes_in, traffic.frames_out[DELIVER]) == (0, 0)


def test_a_push_is_counted_by_the_field_that_it_is_in() -> None:
    fields = {field.name for field in client_pb2.ServerFrame.DESCRIPTOR.fields}
    bodies = (
        *(client_pb2.Message, client_pb2.Receipt, client_pb2.Signal, client_pb2.GroupInfo, client_pb2.PresenceList),
        client_pb2.StreamPart,
        client_pb2.Hidden,
    )
    names = [label_of(EncodedBody.of(body())) for body in bodies]
    assert names == [DELIVER, "receipt", "signal", "group_info", "presence_list", "stream_part", "hidden"]
    assert set(names) <= fields
