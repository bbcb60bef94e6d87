"""What acts on reactions are answered with.

    the last act that an entry tells of      that entry, with the numbers of the act's recipients
    a repeat of an act that the newest told  that entry, as a duplicate
    any other one                            the state of its message, as it is after the turn
    not done                                 why

Guarantees: pure but for the counters.
Does not know: how the acts were done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.common.telemetry import metrics
from services.storage.reactions.message import Told
from services.storage.reactions.turn import ReactAct, Reads
from services.storage.repository.records import MessageKey
from tidings_protocol.errors import Blame, Forbidden, NotFound, TidingsError

StoreOutcome = storage_pb2.StoreOutcome


def outcome_of(
    act: ReactAct,
    reads: Reads,
    entry: Told | TidingsError | None,
    states: dict[MessageKey, bytes],
    now_ms: int,
) -> StoreOutcome | TidingsError:
    """What an act is answered with. `entry`: that this turn made of its message; `states`: of messages that others were
    answered with.
    """
    if act.is_stale:
        return StoreOutcome(status=StoreOutcome.STALE)
    if act.error is not None:
        return refused(act.error)
    if isinstance(entry, Forbidden | NotFound):
        return refused(entry)
    if is_answered_with(act, entry):
        assert isinstance(entry, Told)
        return _as_outcome(entry, act.item.recipients, StoreOutcome.STORED)
    reacted = reads.reacted[act.target]
    if not act.changed and reacted.told is not None and act.pair in reacted.told.acts:
        return _as_outcome(reacted.told, act.item.recipients, StoreOutcome.DUPLICATE)
    if act.target not in states:
        states[act.target] = reacted.state(reads.targets[act.target], now_ms)
    return StoreOutcome(time_ms=now_ms, state=states[act.target])


def is_answered_with(act: ReactAct, entry: Told | TidingsError | None) -> bool:
    """Whether the act is the one that is answered with the entry: the last of those that it tells of."""
    return isinstance(entry, Told) and act.changed and act.pair == entry.last


def _as_outcome(told: Told, recipients: Sequence[str], status: StoreOutcome.Status.ValueType) -> StoreOutcome:
    """An entry as the outcome of an act, whose item has these recipients."""
    numbers = dict(zip(told.recipients, told.outcome.numbers, strict=False))
    outcome = StoreOutcome()
    outcome.CopyFrom(told.outcome)
    outcome.status = status
    outcome.numbers[:] = [numbers.get(user, 0) for user in recipients]
    return outcome


def refused(error: TidingsError) -> StoreOutcome | TidingsError:
    """Who asked is told what forbids it; an error that may pass stays what it is."""
    if error.blame is not Blame.CALLER:
        return error
    return StoreOutcome(status=StoreOutcome.REFUSED, fault=to_fault(error))


def count(acts: Iterable[ReactAct]) -> None:
    for outcome, number in Counter(map(_label, acts)).items():
        metrics.REACTIONS.labels(outcome).inc(number)


def _label(act: ReactAct) -> str:
    if not act.is_done:
        return "refused"
    if not act.changed:
        return "unchanged"
    return "removed" if act.removes else "added"
