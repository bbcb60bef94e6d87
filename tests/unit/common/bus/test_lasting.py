"""Which pushes must arrive."""

from __future__ import annotations

from protos.tidings.internal.v1.delivery_pb2 import Push
from services.common.bus.lasting import LASTING_KINDS

# Messages show as gaps, receipts are in lists, parts are in their message; signals are worth nothing later.
FOUND_OUT = {Push.MESSAGE, Push.RECEIPT, Push.STREAM_PART, Push.SIGNAL}


def test_of_each_kind_it_is_known_whether_a_missing_one_is_found_out() -> None:
    kinds = set(Push.Kind.values())
    assert kinds == FOUND_OUT | LASTING_KINDS
    assert not FOUND_OUT & LASTING_KINDS
