"""The header that says what a record of the stream of events is."""

from __future__ import annotations

from services.common.bus import event_types


def test_each_type_is_one_header_and_named_as_the_contract_says() -> None:
    types = (event_types.MESSAGE, event_types.CHANGE, event_types.RECEIPT, event_types.MEMBERSHIP)
    assert [headers for (headers,) in types] == [
        ("type", b"message"),
        ("type", b"change"),
        ("type", b"receipt"),
        ("type", b"membership"),
    ]
