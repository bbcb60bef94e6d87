"""Which access nodes there are, as a publisher needs them."""

from __future__ import annotations

from dataclasses import replace

from services.common.registry.contract import Membership, NodeRecord
from services.logic.publishing.directory import Directory
from services.logic.publishing.parcels import MailboxAddress
from tests.unit.logic.harness import NODES, View


def test_only_access_nodes_count_and_only_those_with_a_mailbox_get_parcels() -> None:
    young = NodeRecord("access-2", "access", "boot-2", "host:2")
    other = NodeRecord("logic-0", "logic", "boot-l", "host:3", state="ready")
    directory = Directory(View(Membership.of(1, [*NODES, young, other])))
    assert directory.mailboxes() == {
        "access-0": MailboxAddress("access-0", "boot-0", 0),
        "access-1": MailboxAddress("access-1", "boot-1", 1),
    }
    assert directory.readers() == [("access-0", "boot-0"), ("access-1", "boot-1"), ("access-2", "boot-2")]
    assert directory.owner_of()("amy") in {"access-0", "access-1", "access-2"}


def test_it_follows_the_membership_and_is_made_once_for_each() -> None:
    view = View()
    directory = Directory(view)
    before = directory.mailboxes()
    assert directory.mailboxes() is before
    assert directory.deaf() == []
    view.membership = Membership.of(2, [NODES[0], replace(NODES[1], deaf=True)])
    assert directory.deaf() == [("access-1", "boot-1")]
    assert directory.mailboxes() is not before


def test_a_node_of_an_older_version_reads_no_columns() -> None:
    old = replace(NODES[0], columns=False)
    directory = Directory(View(Membership.of(1, [old, NODES[1]])))
    assert [mailbox.columns for mailbox in directory.mailboxes().values()] == [False, True]


def test_who_owns_every_user_is_one_alone() -> None:
    view = View()
    directory = Directory(view)
    assert directory.sole_owner() is None
    view.membership = Membership.of(2, [NODES[1]])
    assert directory.sole_owner() == "access-1"
    view.membership = Membership.of(3, [])
    assert directory.sole_owner() is None
