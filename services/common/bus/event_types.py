"""What a record of the stream of events is, as its header `type` says it: who reads the stream chooses by that alone.

    message       an entry of a log that is shown as a message: NORMAL, SYSTEM
    change        an entry of kind CHANGE: what is done to an earlier one
    receipt       how far a user has got or read
    membership    a change of a group

Guarantees: each record of the stream has one of these. Does not know: what is in the record.
"""

from __future__ import annotations

from typing import Final

from services.common.bus.contract import Header

HEADER: Final = "type"

MESSAGE: Final[tuple[Header, ...]] = ((HEADER, b"message"),)
CHANGE: Final[tuple[Header, ...]] = ((HEADER, b"change"),)
RECEIPT: Final[tuple[Header, ...]] = ((HEADER, b"receipt"),)
MEMBERSHIP: Final[tuple[Header, ...]] = ((HEADER, b"membership"),)
