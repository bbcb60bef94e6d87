"""One stream that has not ended, as the owner of its conversation has it: the text so far, and which part is wanted.

    part <= parts      it is there: nothing happens
    part == parts + 1  it is put behind the text, unless that would be too long
    part >  parts + 1  those before it are missing: the sender is told which is wanted

Guarantees: pure. The text is always that of the first `parts` parts, behind what the stream began with.
Does not know: who may send, when the text is written.
"""

from __future__ import annotations

from services.storage.repository.records import MessageKey, StoredMessage, StreamText
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TooLarge


class OpenStream:
    """`written`: so many parts are in the message's document. `used_s`: when its sender last gave a sign of life."""

    __slots__ = ("_content", "_pieces", "expires_ms", "key", "parts", "sender", "size", "used_s", "written")

    def __init__(self, message: StoredMessage, now_s: float) -> None:
        """`message`: as its document is now, with its content."""
        self.key: MessageKey = (message.conversation, message.seq)
        self.sender = message.sender
        self.expires_ms = message.expires_ms
        self.parts = self.written = message.parts or 0
        self.used_s = now_s
        self._content = client_pb2.Content.FromString(message.content)
        self._pieces = [self._content.text]
        self.size = len(self._content.text.encode())

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    @property
    def is_dirty(self) -> bool:
        """Whether parts came that are not written."""
        return self.parts > self.written

    def take(self, part: int, text: str, content_bytes_max: int, now_s: float) -> bool:
        """Puts a part behind the text; False: it was there. Raises BadRequest with `next_part`, or TooLarge."""
        self.used_s = now_s
        if part <= self.parts:
            return False
        if part > self.parts + 1:
            raise BadRequest(
                f"part {self.parts + 1} of this stream has not come: send it and those after it again",
                next_part=self.parts + 1,
            )
        size = self.size + len(text.encode())
        if size > content_bytes_max:
            raise TooLarge(
                f"the text would have {size} bytes with this part, {content_bytes_max} are allowed: finish the stream "
                "and go on in another message"
            )
        self._pieces.append(text)
        self.size, self.parts = size, part
        return True

    def written_as(self) -> StreamText:
        """The text as it is to be written."""
        self._content.text = self.text
        return StreamText(*self.key, self.parts, self._content.SerializeToString())
