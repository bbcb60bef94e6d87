"""The names of users, conversations and messages."""

from __future__ import annotations

import pytest

from tidings_protocol import client_pb2, ids
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import ConversationKind


@pytest.mark.parametrize("name", ["a", "Alice", "a.b_c-d@e:f", "0", "x" * 64])
def test_letters_digits_and_six_signs_make_a_user(name: str) -> None:
    assert ids.is_user(name)
    assert ids.check_user(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "a b", "a|b", "é", "a\n", "a\x00", "tidings", "a/b", "\ud800", "１", "a" * 10_000]
)
def test_other_names_are_refused_with_the_rule(name: str) -> None:
    assert not ids.is_user(name)
    with pytest.raises(BadRequest) as refusal:
        ids.check_user(name)
    assert "user" in refusal.value.message
    refusal.value.message.encode()
    assert len(refusal.value.message) < 300


def test_case_matters_so_only_the_exact_name_of_the_operator_is_kept() -> None:
    assert ids.is_user("Tidings")


def test_a_direct_chat_has_one_id_whoever_writes_first() -> None:
    assert ids.direct("bob", "alice") == ids.direct("alice", "bob") == "d:alice|bob"


def test_users_of_a_direct_chat_stand_in_order_of_their_bytes() -> None:
    assert ids.direct("b", "B") == "d:B|b"
    assert ids.direct("a", "a") == "d:a|a"


def test_peers_are_the_two_users_of_a_direct_chat() -> None:
    assert ids.peers("d:a:x|b@y") == ("a:x", "b@y")
    assert ids.other_of("d:alice|bob", "alice") == "bob"
    assert ids.other_of("d:alice|bob", "bob") == "alice"
    assert ids.other_of("d:me|me", "me") == "me"


@pytest.mark.parametrize("conversation", ["g:a", "b:all", "d:a", "d:a|b|c", ""])
def test_what_is_no_direct_chat_has_no_peers(conversation: str) -> None:
    with pytest.raises(BadRequest):
        ids.peers(conversation)


@pytest.mark.parametrize(
    ("conversation", "kind"),
    [
        ("d:alice|bob", ConversationKind.DIRECT),
        ("d:a|a", ConversationKind.DIRECT),
        ("g:team.1", ConversationKind.GROUP),
        ("g:" + "x" * 64, ConversationKind.GROUP),
        ("b:all", ConversationKind.BROADCAST),
    ],
)
def test_each_kind_of_conversation_is_known_by_its_id(conversation: str, kind: ConversationKind) -> None:
    assert ids.check_conversation(conversation) is kind
    assert ids.kind_of(conversation) is kind


@pytest.mark.parametrize(
    "conversation",
    ["", "d:", "d:a", "d:a|", "d:|a", "d:a|b|c", "g:", "g:a b", "g:" + "x" * 65, "b:some", "x:y", "alice", "g:a\n"],
)
def test_other_ids_are_refused_with_the_rule(conversation: str) -> None:
    with pytest.raises(BadRequest, match="d:<user>"):
        ids.check_conversation(conversation)


def test_the_wrong_order_is_refused_and_the_right_one_told() -> None:
    with pytest.raises(BadRequest, match=r"d:alice\|bob"):
        ids.check_conversation("d:bob|alice")


def test_nobody_chats_with_the_operator() -> None:
    with pytest.raises(BadRequest, match="tidings"):
        ids.check_conversation("d:alice|tidings")


def test_the_kind_of_an_unchecked_id_is_refused() -> None:
    with pytest.raises(BadRequest):
        ids.kind_of("alice")


def test_kinds_have_the_numbers_of_the_protocol() -> None:
    assert {kind.name: kind.value for kind in ConversationKind} == {
        name: number for name, number in client_pb2.Conversation.Kind.items() if number
    }


def test_hashes_and_slots_are_the_same_in_every_process_and_version() -> None:
    assert ids.hash64("") == 0xEF46DB3751D8E999
    assert ids.hash64("alice") == 0x73A3EA485F2E6049
    assert ids.slot_of("alice") == 73


def test_slots_are_spread_evenly() -> None:
    counts = [0] * 16
    for number in range(16_000):
        counts[ids.slot_of(f"user-{number}") * 16 // ids.SLOTS] += 1
    assert min(counts) > 850
    assert max(counts) < 1_150


def test_a_message_id_follows_from_its_place() -> None:
    assert ids.message_id("d:alice|bob", 7) == "8ef1fe2046318fd904693ce8"
    places = {ids.message_id(conversation, seq) for conversation in ("g:a", "g:b", "g:a1") for seq in range(1, 200)}
    assert len(places) == 3 * 199
    assert all(len(place) == 24 for place in places)


def test_new_ids_differ_and_name_groups() -> None:
    assert ids.new_id() != ids.new_id()
    assert ids.check_conversation(f"g:{ids.new_id()}") is ConversationKind.GROUP
