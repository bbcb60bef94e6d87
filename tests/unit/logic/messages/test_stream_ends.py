"""The ends of streams, as the hook is asked about them."""

from __future__ import annotations

from protos.tidings.internal.v1.common_pb2 import Special
from services.logic.messages.draft import SendDraft
from services.logic.messages.stream_ends import candidate_of, recall_item, with_text
from tidings_protocol import client_pb2
from tidings_protocol.kinds import RECALL

Change, Content = client_pb2.Change, client_pb2.Content


def test_the_recall_of_a_refused_end_is_the_operators_and_the_same_each_time() -> None:
    item = recall_item("d:amy|bob", 7)
    assert item == recall_item("d:amy|bob", 7)
    assert item.client_id != recall_item("d:amy|bob", 8).client_id
    draft = SendDraft(item)
    assert (item.sender, draft.kind, draft.change) == ("tidings", RECALL, Change(seq=7, recall=Change.Recall()))
    assert not draft.asks_hook


def test_a_finish_takes_the_text_of_a_content_and_keeps_the_rest() -> None:
    special = Special(change=Change(seq=7, finish=Change.Finish(parts=3, text="a")).SerializeToString())
    changed = with_text(special, Content(text="b").SerializeToString())
    assert Change.FromString(changed.change) == Change(seq=7, finish=Change.Finish(parts=3, text="b"))


def test_the_hook_is_shown_the_whole_text_of_an_end_that_storage_made() -> None:
    end = client_pb2.Message(
        conversation="g:x", sender="bot", client_id="c", change=Change(seq=7, finish=Change.Finish(text="all"))
    )
    candidate = candidate_of(end)
    assert (candidate.conversation, candidate.sender, candidate.client_id) == ("g:x", "bot", "c")
    assert (candidate.change, candidate.seq, Content.FromString(candidate.content).text) == ("finish", 7, "all")
