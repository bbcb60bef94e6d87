"""What every device is to be shown of a log: its messages, and the changes of them that tell something.

An edit that a later edit or a recall has overtaken may be passed over: it has no content any more.

Does not know: who was a member when, who sent what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.support.histories.record import Stored


def due(log: Sequence[Stored]) -> Iterator[Stored]:
    """Of a whole log, without what the cluster wrote: that may lie before the place from which a device reads."""
    newest = {each.change.target: each.seq for each in log if each.change is not None and each.change.what == "edit"}
    for each in log:
        if each.system:
            continue
        if each.change is not None and each.change.what == "edit":
            overtaken = each.seq != newest[each.change.target]
            if overtaken or each.state.recalled_by:
                continue
        yield each
