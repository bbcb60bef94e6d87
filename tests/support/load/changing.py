"""What a user does to earlier messages: one change, drawn from what the application has of a conversation. Pure.

Guarantees: what is drawn is allowed as far as the application knows. Others may have recalled the message meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.support.histories.record import Change
from tidings import Message

LATEST = 30  # messages of a conversation that people still do something to
REACTIONS = ("👍", "❤", "😂", "+1")
ACTS = {"edit": 40, "recall": 10, "react": 30, "unreact": 10, "pin": 7, "unpin": 3}


def drawn(rng: random.Random, user: str, latest: Sequence[Message], *, pins: bool) -> Change | None:
    """None: there is nothing to do that to. `pins`: the user may pin in this conversation."""
    what = rng.choices(list(ACTS), list(ACTS.values()))[0]
    alive = [message for message in latest if not message.recalled]
    match what:
        case "edit" | "recall":
            alive = [message for message in alive if message.sender == user]
        case "pin" | "unpin":
            alive = [message for message in alive if pins and message.state.pinned is (what == "unpin")]
        case "unreact":
            alive = [message for message in alive if any(each.mine for each in message.reactions)]
        case _:
            pass
    if not alive:
        return None
    message = rng.choice(alive)
    match what:
        case "react":
            return Change(what, message.seq, rng.choice(REACTIONS))
        case "unreact":
            return Change(what, message.seq, rng.choice([each.reaction for each in message.reactions if each.mine]))
        case _:
            return Change(what, message.seq)
