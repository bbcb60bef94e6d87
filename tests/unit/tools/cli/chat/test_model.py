"""What the chat knows and how it is drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings import (
    ChangeAct,
    Content,
    Conversation,
    ConversationKind,
    Expired,
    Group,
    Hidden,
    HistoryPage,
    Link,
    LinkState,
    Message,
    MessageChanged,
    MessageState,
    Preferences,
    PreferencesChanged,
    Presence,
    Profile,
    ProfileChanged,
    Progress,
    Reaction,
    Receipt,
    Role,
    Signal,
    State,
    StreamGrew,
)
from tidings.model import MEMBERSHIP_MIME
from tools.cli.chat import render
from tools.cli.chat.model import LINES_MAX, ChatModel

CHAT = "d:ann|bob"
NOW_MS = 1_700_000_000_000


def _message(seq: int, sender: str = "bob", text: str = "hi", client_id: str = "") -> Message:
    return Message(f"m{seq}", CHAT, seq, sender, 1_700_000_000_000 + seq, text, client_id=client_id)


def _page(*seqs: int, more: bool = False) -> HistoryPage:
    return HistoryPage(tuple(_message(seq) for seq in seqs), max(seqs), more, False, min(seqs))


def _model() -> ChatModel:
    model = ChatModel("ann")
    model.chat_with("bob")
    return model


def _seqs(model: ChatModel) -> list[int]:
    return [line.seq for line in model.talks[CHAT].lines]


@given(st.permutations([1, 2, 3, 4, 5, 6]), st.integers(0, 6))
def test_a_message_is_one_line_in_its_place_wherever_it_came_from(order: list[int], pushed: int) -> None:
    model = _model()
    for seq in order[:pushed]:
        model.apply(_message(seq), 0.0)
    model.page(CHAT, _page(1, 2, 3, 4, 5, 6))
    for seq in order[pushed:]:
        model.apply(_message(seq), 0.0)
    assert _seqs(model) == [1, 2, 3, 4, 5, 6]


def test_an_own_message_goes_through_its_states() -> None:
    model = _model()
    talk = model.talks[CHAT]
    line = model.posted(CHAT, "c1", "hello", 0, 5)
    assert talk.state_of(line) is MessageState.SENDING
    model.apply(Progress("c1", CHAT, 1, MessageState.SENT), 0.0)
    (line,) = talk.lines
    states = [str(talk.state_of(line))]
    model.apply(Receipt(CHAT, "bob", 1, 0), 0.0)
    states.append(str(talk.state_of(line)))
    model.apply(Receipt(CHAT, "bob", 1, 1), 0.0)
    states.append(str(talk.state_of(line)))
    assert states == ["sent", "delivered", "read"]


def test_an_own_message_that_the_history_shows_is_not_shown_twice() -> None:
    model = _model()
    model.posted(CHAT, "c1", "hello", 0, 5)
    model.apply(_message(1, "ann", "hello", "c1"), 0.0)
    model.apply(Progress("c1", CHAT, 1, MessageState.SENT), 0.0)
    assert _seqs(model) == [1]


def test_what_failed_can_be_found() -> None:
    model = _model()
    model.posted(CHAT, "c1", "hello", 0, 5)
    model.apply(Progress("c1", CHAT, 0, MessageState.FAILED, "no answer"), 0.0)
    ((_, line),) = model.failed()
    assert (line.client_id, line.reason) == ("c1", "no answer")


def test_what_others_write_is_unread_until_it_is_read_here_or_elsewhere() -> None:
    model = _model()
    model.apply(_message(1), 0.0)
    model.apply(_message(2), 0.0)
    assert model.talks[CHAT].unread == 2
    model.apply(Receipt(CHAT, "ann", 2, 1), 0.0)
    assert model.talks[CHAT].unread == 1
    model.apply(_message(3, "ann"), 0.0)
    assert model.talks[CHAT].unread == 0


def test_typing_ends_by_itself_and_with_a_message() -> None:
    model = _model()
    model.apply(Signal(CHAT, "bob", "typing"), 10.0)
    assert render.typing(model, 11.0) == "bob is typing…"
    assert render.typing(model, 17.0) == ""
    model.apply(Signal(CHAT, "bob", "typing"), 20.0)
    model.apply(_message(1), 20.5)
    assert render.typing(model, 20.6) == ""


def test_a_long_conversation_keeps_its_newest_lines() -> None:
    model = _model()
    for seq in range(1, LINES_MAX + 100):
        model.apply(_message(seq), 0.0)
    talk = model.talks[CHAT]
    assert len(talk.lines) == LINES_MAX
    assert (talk.oldest, talk.more_before) == (100, True)


def test_conversations_are_found_by_number_name_and_id() -> None:
    model = ChatModel("ann")
    model.listing(
        [
            Conversation("g:1", "Crew", ConversationKind.GROUP, 5, 3, last=_message(9)),
            Conversation(CHAT, "bob", ConversationKind.DIRECT, 2, 2, last=_message(1)),
        ]
    )
    found = [model.find(word) for word in ("1", "cr", "g:1", "bob", "2")]
    assert [talk.id for talk in found if talk] == ["g:1", "g:1", "g:1", CHAT, CHAT]
    assert model.find("3") is None


def test_a_terminal_never_obeys_what_somebody_wrote() -> None:
    model = _model()
    model.apply(_message(1, text="\x1b[2Jgone\x07\r"), 0.0)
    drawn = "".join(text for row in render.transcript(model, model.talk) for _, text in row)
    assert "\x1b" not in drawn
    assert "\x07" not in drawn
    assert "gone" in drawn


def test_the_sidebar_shows_presence_and_what_is_unread() -> None:
    model = _model()
    model.apply(Presence("bob", online=True), 0.0)
    model.apply(_message(1), 0.0)
    model.open("g:1", name="Crew")
    rows = ["".join(text for _, text in row) for row in render.sidebar(model, NOW_MS)]
    assert any("●" in row and "bob" in row and "1" in row for row in rows)
    assert all(len(row) <= render.SIDEBAR_COLUMNS for row in rows)


def test_a_conversation_is_muted_until_its_time() -> None:
    model = _model()
    model.apply(PreferencesChanged(Preferences(CHAT, muted_until_ms=NOW_MS)), 0.0)
    marks = [
        any(text == " -" for row in render.sidebar(model, now_ms) for _, text in row)
        for now_ms in (NOW_MS - 1, NOW_MS, NOW_MS + 1)
    ]
    assert marks == [True, False, False]


def test_a_group_keeps_its_name_whatever_users_are_called() -> None:
    model = ChatModel("ann")
    model.open("g:1", name="bob")
    model.apply(ProfileChanged(Profile("bob", "Robert")), 0.0)
    drawn = [text for row in [render.title(model, NOW_MS), *render.sidebar(model, NOW_MS)] for _, text in row]
    assert not any("Robert" in text for text in drawn)


def _notice(seq: int, act: str, by: str, *users: str) -> Message:
    data = json.dumps({"act": act, "by": by, "users": users}).encode()
    return Message(f"m{seq}", "g:1", seq, by, NOW_MS + seq, "", data=data, mime=MEMBERSHIP_MIME, system=True)


@pytest.mark.parametrize(
    ("notices", "left"),
    [
        ([("ban", "bob", "ann")], True),
        ([("ban", "bob", "cleo")], False),
        ([("remove", "bob", "ann"), ("add", "bob", "ann")], False),
        ([("add", "bob", "ann"), ("leave", "ann")], True),
        ([("leave", "cleo"), ("remove", "ann", "cleo")], False),
        ([("dissolve", "bob")], True),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_who_is_put_out_of_a_group_is_told(notices: list[tuple[str, ...]], left: bool, backwards: bool) -> None:
    model = ChatModel("ann")
    talk = model.open("g:1", name="Crew")
    told = [_notice(seq, *notice) for seq, notice in enumerate(notices, 5)]
    for message in reversed(told) if backwards else told:
        model.apply(message, 0.0)
    assert talk.left is left
    assert any("no member" in text for _, text in render.title(model, NOW_MS)) is left
    model.apply(Group("g:1", "Crew", 3, Role.MEMBER, 20), 0.0)  # taken in again
    assert not talk.left


def test_the_status_line_counts_down_to_the_next_try() -> None:
    model = _model()
    model.apply(Link(LinkState.WAITING, detail="it broke", retry_in_s=8.0), 100.0)
    text = "".join(text for _, text in render.status(model, 103.0))
    assert "reconnecting in 5 s (it broke)" in text


def test_the_rows_of_a_chat() -> None:
    model = _model()
    model.page(CHAT, _page(1, 2))
    model.read(CHAT, 1)
    model.posted(CHAT, "c1", "two\nlines", 1, 1_700_000_000_000)
    rows = ["".join(text for _, text in row) for row in render.transcript(model, model.talk)]
    assert rows[0] == "the beginning"
    assert "── new ──" in rows
    assert rows[-1].endswith("lines  …")
    assert "↳1 bob: hi" in rows[-2]


def test_acts_that_this_chat_does_not_know_are_no_lines_but_count_as_seen() -> None:
    model = ChatModel("ann")
    told = Message("m1", "g:1", 1, "bob", 1, data=b'{"act": "merge"}', mime=MEMBERSHIP_MIME, system=True)
    assert model.apply(told, 0.0) is None
    assert (model.talks["g:1"].head, model.talks["g:1"].lines) == (1, [])


def _change(seq: int, change_seq: int, act: ChangeAct, state: State, text: str = "") -> MessageChanged:
    content = Content(text=text) if text else None
    return MessageChanged(CHAT, seq, change_seq, act, "bob", 1, replace(state, revision=change_seq), content)


def _drawn(model: ChatModel) -> list[str]:
    return ["".join(text for _, text in row) for row in render.transcript(model, model.talk)]


def test_what_is_done_to_a_message_shows_in_its_line() -> None:
    model = _model()
    model.apply(_message(1, text="one"), 0.0)
    state = State(edited_ms=1, pinned=True, reactions=(Reaction("👍", 2, ("ann", "bob")),))
    model.apply(_change(1, 2, ChangeAct.EDIT, state, "two"), 0.0)
    assert _drawn(model)[-1].endswith("#1 bob two (changed) (pinned)  👍2")
    assert (model.talks[CHAT].pinned, model.talks[CHAT].head) == ((1,), 2)
    model.apply(_change(1, 3, ChangeAct.RECALL, State(recalled_by="bob")), 0.0)
    assert _drawn(model)[-1].endswith("bob (taken back)")
    assert (model.talks[CHAT].pinned, model.talks[CHAT].unread) == ((), 0)
    model.page(CHAT, _page(1))  # as it was read before all that
    assert _drawn(model)[-1].endswith("bob (taken back)")


def test_an_own_message_can_be_changed_once_it_has_its_place() -> None:
    model = _model()
    model.posted(CHAT, "c1", "one", 0, 5)
    model.apply(Progress("c1", CHAT, 1, MessageState.SENT), 0.0)
    model.apply(_change(1, 2, ChangeAct.EDIT, State(edited_ms=1), "two"), 0.0)
    (line,) = model.talks[CHAT].lines
    assert line.text == "two"
    newest = model.talks[CHAT].newest(by="ann")
    assert newest is line


def test_a_stream_grows_in_its_line() -> None:
    model = _model()
    stream = replace(_message(1, text="I "), state=State(streaming=True))
    model.apply(stream, 0.0)
    assert _drawn(model)[-1].endswith("bob I  ▌")
    grown = replace(stream, text="I think", state=State(streaming=True, parts=1))
    model.apply(StreamGrew(CHAT, 1, 1, "think", grown), 0.0)
    assert _drawn(model)[-1].endswith("I think ▌")
    model.apply(_change(1, 2, ChangeAct.FINISH, State(parts=1), "I think so"), 0.0)
    assert _drawn(model)[-1].endswith("bob I think so")


def test_what_is_hidden_or_expired_is_not_there() -> None:
    model = _model()
    for seq in range(1, 5):
        model.apply(_message(seq), 0.0)
    model.apply(Hidden(CHAT, (4,), 2), 0.0)
    assert _seqs(model) == [3]
    assert model.talks[CHAT].unread == 1
    expired = replace(_message(3), expires_ms=5).at(5)
    model.apply(Expired(expired), 0.0)
    assert _drawn(model)[-1].endswith("bob (expired)")


def test_unread_is_what_the_server_counted_and_what_came_since() -> None:
    model = ChatModel("ann")
    listed = Conversation(CHAT, "bob", ConversationKind.DIRECT, 9, 3, last=_message(8), unread=4, mentions=1)
    model.listing([listed])
    talk = model.talks[CHAT]
    assert (talk.unread, talk.mentions) == (4, 1)
    model.apply(_message(8), 0.0)  # it was counted
    model.apply(replace(_message(10), mentions=("ann",)), 0.0)
    assert (talk.unread, talk.mentions) == (5, 2)
    model.apply(Receipt(CHAT, "ann", 10, 8), 0.0)
    assert (talk.unread, talk.mentions) == (1, 1)
    model.apply(_change(10, 11, ChangeAct.RECALL, State(recalled_by="bob")), 0.0)
    assert (talk.unread, talk.mentions) == (0, 0)


def test_where_it_began_to_be_new_stays_marked_while_one_reads() -> None:
    model = _model()
    model.open("g:1")
    model.page(CHAT, _page(1, 2))
    model.read(CHAT, 1)
    model.chat_with("bob")
    model.read(CHAT, 2)
    rows = _drawn(model)
    assert rows.index("── new ──") == len(rows) - 2
    model.posted(CHAT, "c1", "hello", 0, 1_700_000_000_000)
    assert "── new ──" not in _drawn(model)


def test_the_list_is_as_the_person_wants_it() -> None:
    model = ChatModel("ann")
    names = ("d:ann|bob", "d:ann|cleo", "d:ann|dan", "d:ann|eve")
    for number, name in enumerate(names):
        model.listing([Conversation(name, name[6:], ConversationKind.DIRECT, 0, 0, last=_message(100 - number))])
    for told in (
        Preferences(names[0], archived=True),
        Preferences(names[2], pinned=True, muted_until_ms=-1),
        Preferences(names[3], hidden=True),
    ):
        model.apply(PreferencesChanged(told), 0.0)
    model.apply(ProfileChanged(Profile("cleo", "Cleo\x1b C.")), 0.0)
    rows = ["".join(text for _, text in row).split() for row in render.sidebar(model, NOW_MS)]
    assert rows == [["○", "dan", "-"], ["○", "Cleo\N{REPLACEMENT CHARACTER}", "C."], ["○", "bob"]]
    model.apply(replace(_message(200), conversation=names[3]), 0.0)
    model.read(names[3], 200)
    assert names[3] in [talk.id for talk in model.listed()]  # something new came
