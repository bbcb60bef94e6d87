"""What the changes in a log make of its messages: a fold of the log, to compare with what pages show (G11).

It is written from the protocol alone, and knows no more than a client that keeps every entry. Reactions are left out:
an entry names some of those who came and went, and what they come to is said by its state alone.

Does not know: who may change what, what the cluster does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tests.support.histories.history import UNCHANGED, Change, State, Stored


@dataclass(slots=True)
class Folded:
    """A message after the changes so far. `body` None: nobody knows what was sent."""

    body: str | None
    state: State = UNCHANGED
    edit: int = 0  # the seq of the newest edit

    def take(self, entry: Stored, change: Change, text: str | None) -> None:
        """What one change makes of it; `text`: of an edit or a finish, None if nobody knows."""
        state = replace(self.state, revision=entry.seq)
        match change.what:
            case "edit":
                self.body, self.edit = text, entry.seq
                state = replace(state, is_edited=True)
            case "finish":
                self.body, self.edit = text, entry.seq
            case "recall":
                self.body, self.edit = "", 0
                state = State(revision=entry.seq, recalled_by=entry.sender)
            case "pin":
                state = replace(state, is_pinned=change.pinned)
        self.state = state


def fold(log: Sequence[Stored], texts: Mapping[tuple[str, str], str], *, upto: int | None = None) -> dict[int, Folded]:
    """The messages of a log, by seq, after its changes up to this seq. `texts`: of sends and edits, by (sender, client
    id), as they were posted.
    """
    folded: dict[int, Folded] = {}
    for entry in log:
        if upto is not None and entry.seq > upto:
            break
        text = texts.get((entry.sender, entry.client_id))
        if entry.change is None:
            folded[entry.seq] = Folded(entry.body if entry.act else text)
        elif entry.change.target in folded:
            folded[entry.change.target].take(entry, entry.change, text)
    return folded
