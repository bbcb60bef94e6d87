"""What a message says, as the application sees it: text or data, whom it mentions, the files that it refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidings_protocol import client_pb2 as pb


@dataclass(frozen=True, slots=True)
class Media:
    """A file in the media store that a message refers to. `preview`: a few bytes to show meanwhile."""

    id: str
    mime: str = ""
    name: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    duration_ms: int = 0
    thumbnail: str = ""
    preview: bytes = b""

    @classmethod
    def from_proto(cls, media: pb.Media) -> Media:
        return cls(
            media.id,
            media.mime,
            media.name,
            media.bytes,
            media.width,
            media.height,
            media.duration_ms,
            media.thumbnail,
            media.preview,
        )

    def to_proto(self) -> pb.Media:
        return pb.Media(
            id=self.id,
            mime=self.mime,
            name=self.name,
            bytes=self.size,
            width=self.width,
            height=self.height,
            duration_ms=self.duration_ms,
            thumbnail=self.thumbnail,
            preview=self.preview,
        )


@dataclass(frozen=True, slots=True)
class Content:
    """What an edit, or the end of a stream, put in the place of what was there."""

    text: str = ""
    data: bytes = b""
    mime: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    media: tuple[Media, ...] = ()

    @classmethod
    def from_proto(cls, content: pb.Content) -> Content:
        return cls(
            content.text,
            content.data,
            content.mime,
            dict(content.headers),
            tuple(content.mentions),
            content.mention_all,
            tuple(map(Media.from_proto, content.media)),
        )
