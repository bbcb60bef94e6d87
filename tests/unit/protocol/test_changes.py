"""What a client may ask to be done to an earlier message."""

from __future__ import annotations

import pytest

from tidings_protocol import client_pb2
from tidings_protocol.changes import KIND_OF_ACT, act_alone, check_change, encode_edit, reaction_of
from tidings_protocol.errors import BadRequest, TooLarge

Change, Content = client_pb2.Change, client_pb2.Content
RECALL, FINISH = Change.Recall(), Change.Finish(parts=3)


def change(**fields: object) -> client_pb2.Change:
    return Change(**({"client_id": "c", "conversation": "d:amy|bob", "seq": 7} | fields))  # type: ignore[arg-type]


def test_every_act_but_what_the_server_tells_may_be_asked_for() -> None:
    acts = {field.name for field in Change.DESCRIPTOR.oneofs_by_name["act"].fields}
    assert KIND_OF_ACT.keys() == acts - {"reacted"}


@pytest.mark.parametrize(
    "asked",
    [
        change(edit=Content(text="hi")),
        change(recall=RECALL),
        change(pin=False),
        change(finish=FINISH),
        change(react="+"),
        change(unreact="+"),
        change(seq=2**63 - 1, recall=RECALL),
    ],
)
def test_a_change_that_is_right_is_accepted(asked: client_pb2.Change) -> None:
    check_change(asked, 100)


@pytest.mark.parametrize(
    "asked",
    [
        change(),
        change(seq=0, recall=RECALL),
        change(seq=2**63, recall=RECALL),
        change(client_id="", recall=RECALL),
        change(client_id="~op 1", recall=RECALL),
        change(reacted=Change.Reacted()),
        change(react=""),
        change(react="\ufe0f"),
        change(react="a\tb"),
        change(react="x" * 65),
        change(react="é" * 33),
        change(unreact=""),
    ],
)
def test_a_change_that_is_wrong_is_refused_with_what_to_do(asked: client_pb2.Change) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_change(asked, 100)
    assert refusal.value.message.partition(": ")[2].split()[0] in {"give", "make", "use"}


def test_the_text_of_a_finish_is_as_long_as_a_contents_may_be() -> None:
    check_change(change(finish=Change.Finish(text="é" * 50)), 100)
    with pytest.raises(TooLarge, match="102 bytes, 100"):
        check_change(change(finish=Change.Finish(text="é" * 51)), 100)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("👍", "👍"),
        ("❤\ufe0f", "❤"),
        ("❤", "❤"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("🏳\ufe0f\u200d🌈", "🏳\ufe0f\u200d🌈"),
        ("e\u0301", "é"),
        ("x" * 64, "x" * 64),
    ],
)
def test_what_looks_alike_is_one_reaction(given: str, stored: str) -> None:
    assert reaction_of(given) == stored
    assert reaction_of(stored) == stored
    asked = change(react=given)
    check_change(asked, 100)
    assert asked.react == stored


def test_an_edit_leaves_what_no_edit_touches() -> None:
    content = Content(text="hi", reply_to=3, expire_after_s=9, streaming=True, mentions=["bob"])
    assert Content.FromString(encode_edit(change(edit=content), 100)) == Content(text="hi", mentions=["bob"])


@pytest.mark.parametrize("content", [Content(), Content(text=""), Content(text="", streaming=True)])
def test_an_edit_to_nothing_is_refused(content: client_pb2.Content) -> None:
    with pytest.raises(BadRequest, match="empty"):
        encode_edit(change(edit=content), 100)


@pytest.mark.parametrize(
    ("act", "alone"),
    [
        ({"edit": Content(text="hi", mentions=["bob"])}, {"edit": Content()}),
        ({"recall": RECALL}, {"recall": RECALL}),
        ({"pin": False}, {"pin": False}),
        ({"finish": Change.Finish(text="all", parts=2)}, {"finish": Change.Finish(text="all", parts=2)}),
    ],
)
def test_what_travels_beside_a_change_is_left_out_of_it(act: dict[str, object], alone: dict[str, object]) -> None:
    asked = change(**act)
    encoded = Change.FromString(act_alone(asked))
    assert encoded == Change(seq=7, **alone)  # type: ignore[arg-type]
    assert encoded.WhichOneof("act") == asked.WhichOneof("act")
    assert asked == change(**act), "what was asked for stays as it was"
