"""What storage is asked of a draft."""

from __future__ import annotations

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.internal.v1.common_pb2 import Special
from services.logic.groups.recipients import Fanout
from services.logic.messages.draft import SendDraft
from services.logic.messages.store_items import NEVER, look_item, store_item, with_sender
from tidings_protocol import client_pb2

Change, Content = client_pb2.Change, client_pb2.Content


def draft(change: client_pb2.Change | None = None, content: bytes = b"") -> SendDraft:
    item = logic_pb2.SendItem(sender="amy", conversation="g:x", client_id="c", content=content, reply_to=3, trace="t")
    if change is not None:
        item.special.CopyFrom(Special(change=change.SerializeToString(), mentions=["bob"]))
    made = SendDraft(item)
    made.fanout = Fanout(("amy", "bob"), 7)
    return made


def test_a_message_is_stored_as_it_was_sent_for_those_who_get_it() -> None:
    assert store_item(draft(content=b"hi")) == pb.StoreItem(
        conversation="g:x",
        sender="amy",
        client_id="c",
        content=b"hi",
        kind=client_pb2.Message.NORMAL,
        version=7,
        recipients=["amy", "bob"],
        reply_to=3,
        trace="t",
    )


def test_a_change_is_stored_with_what_its_sender_may_do() -> None:
    made = draft(Change(seq=1, pin=True))
    made.rights = pb.ActorRights(role=3)
    item = store_item(made)
    assert (item.kind, item.rights, item.special) == (client_pb2.Message.CHANGE, made.rights, made.special)


def test_an_end_of_a_stream_has_the_text_that_was_decided_about() -> None:
    made = draft(Change(seq=1, finish=Change.Finish(parts=2, text="given")))
    assert Change.FromString(store_item(made).special.change).finish.text == "given"
    made.content = Content(text="seen").SerializeToString()
    item = store_item(made)
    assert Change.FromString(item.special.change) == Change(seq=1, finish=Change.Finish(parts=2, text="seen"))
    assert item.content == b""


def test_what_is_looked_for_is_stored_by_no_node() -> None:
    item = look_item(draft(Change(seq=1, pin=True), content=b"hi"))
    assert (item.only_look, item.version, item.reply_to) == (True, NEVER, NEVER)
    assert (item.content, item.HasField("special")) == (b"", False)


def test_the_sender_is_among_those_who_may_have_an_entry() -> None:
    assert with_sender(Fanout(("bob",), 7), "amy") == Fanout(("bob", "amy"), 7)
    assert with_sender(Fanout(("amy", "bob"), 7), "amy") == Fanout(("amy", "bob"), 7)
    assert with_sender(Fanout(()), "amy") == Fanout(()), "nobody has one where all read by cursor"
