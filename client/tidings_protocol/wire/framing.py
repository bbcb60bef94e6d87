"""Frames in a TCP stream: a 4-byte big-endian length, then that many bytes.

Guarantees: a length over the limit is refused before a byte of that frame is kept; what is kept between two chunks is
less than one frame and its length; every frame that was complete before a refusal is given out. Nothing is read after
a refusal.

Does not know: what is in a frame, sockets, time (`pending` tells a shell that half a frame waits).
"""

from __future__ import annotations

from tidings_protocol.errors import TooLarge

PREFIX_BYTES = 4
LENGTH_MAX = 0xFFFF_FFFF


class FrameSplitter:
    """Chunks in, whole frames out. One per connection and direction. `frame_bytes_max` may change between chunks."""

    __slots__ = ("_buffer", "_needed", "frame_bytes_max", "refusal")

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._needed = PREFIX_BYTES  # bytes in the buffer below which no frame can be complete
        self.refusal: TooLarge | None = None

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def receive(self, chunk: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames that this chunk completes, in order; then look at `refusal`."""
        if self.refusal is not None:
            return []
        if not self._buffer:
            # The usual case, a chunk of whole frames, is cut without a copy of the chunk.
            frames, end = self._cut(chunk)
            if end < len(chunk) and self.refusal is None:
                self._buffer += chunk[end:]
            return frames
        self._buffer += chunk
        if len(self._buffer) < self._needed:
            return []
        frames, end = self._cut(self._buffer)
        del self._buffer[:end]
        return frames

    def _cut(self, data: bytes | bytearray | memoryview) -> tuple[list[bytes], int]:
        frames: list[bytes] = []
        start, size = 0, len(data)
        while size - start >= PREFIX_BYTES:
            length = int.from_bytes(data[start : start + PREFIX_BYTES], "big")
            if length > self.frame_bytes_max:
                self._refuse(length)
                return frames, size
            end = start + PREFIX_BYTES + length
            if end > size:
                self._needed = end - start
                return frames, start
            frames.append(bytes(data[start + PREFIX_BYTES : end]))
            start = end
        self._needed = PREFIX_BYTES
        return frames, start

    def _refuse(self, length: int) -> None:
        self.refusal = TooLarge(
            f"a frame of {length} bytes was announced, the limit is {self.frame_bytes_max}: send less in one frame"
        )


def framed(frame: bytes) -> bytes:
    """One frame as it goes into the stream."""
    return len(frame).to_bytes(PREFIX_BYTES, "big") + frame
