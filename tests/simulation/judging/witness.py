"""Looks into the database at the moment of each acknowledgement: what a sender was told is sent is in every inbox.

The checker sees what came in the end. A message that is delivered late, because somebody happened to touch its
conversation, looks well there, although its sender was told too early, and it might have come never.

Does not know: who is in a group at which moment; it looks at direct chats.
"""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.memory import Database
from services.storage.repository.records import CHANGE, StoredMessage
from tests.support.histories.checker import Violation
from tests.support.histories.history import Acknowledged, Event, History
from tidings_protocol import client_pb2
from tidings_protocol.ids import ConversationKind, kind_of, peers

DIRECT = ConversationKind.DIRECT


class Witness:
    """`violations` are those seen until now."""

    def __init__(self, database: Database, history: History) -> None:
        self.violations: list[Violation] = []
        self._database = database
        history.listeners.append(self._look)

    def half_done(self) -> list[str]:
        """The direct chats whose newest message is not in every inbox."""
        newest = {chat: max(messages, default=0) for chat, messages in self._database.messages.items()}
        return [chat for chat, seq in newest.items() if seq and kind_of(chat) is DIRECT and self._without(chat, seq)]

    def contents_after_recall(self) -> list[Violation]:
        """Contents that lie in the database though their message was recalled, in what changed it too."""
        found: list[Violation] = []
        for messages in self._database.messages.values():
            recalled = {seq for seq, each in messages.items() if _is_recalled(each)}
            for seq, each in messages.items():
                target = seq if each.kind != CHANGE else client_pb2.Change.FromString(each.act).seq
                if target in recalled and each.content:
                    found.append(Violation("G11", f"{each} has a content, and {target} was recalled"))
        return found

    def _look(self, event: Event) -> None:
        if isinstance(event, Acknowledged) and event.seq and kind_of(event.conversation) is DIRECT:
            for user in self._without(event.conversation, event.seq):
                self.violations.append(Violation("G1", f"{event} is not in the inbox of {user}"))

    def _without(self, chat: str, seq: int) -> list[str]:
        """Those of the two whose inbox does not have this message."""
        return [
            user
            for user in dict.fromkeys(peers(chat))
            if not any((each.conversation, each.seq) == (chat, seq) for each in self._database.inboxes[user].values())
        ]


def _is_recalled(message: StoredMessage) -> bool:
    return bool(message.state) and bool(storage_pb2.FoldedState.FromString(message.state).state.recalled_by)
